/* Requests to this server, as the person who is signed in. */

const LONGEST_WAIT = 20_000; // milliseconds
const content = (name) => document.querySelector(`meta[name="${name}"]`).content; // base.html sets these
const signIn = () => location.assign(`${content("sign-in")}?next=${encodeURIComponent(location.pathname)}`);

/** Send JSON to the API. Returns the document of the answer, or null if it has none; throws an Error with a text for people. */
export async function api(method, path, attributes) {
  const response = await fetch(`/api/v1${path}`, {
    method,
    signal: AbortSignal.timeout(LONGEST_WAIT),
    headers: {
      Accept: "application/json",
      "Content-Type": "application/json",
      "X-CSRFToken": content("csrf-token"),
    },
    body: attributes && JSON.stringify({ data: { attributes } }),
  });
  const answer = response.status === 204 ? null : await response.json();
  if (response.status === 401) signIn();
  if (!response.ok) throw new Error(answer.errors.map((error) => error.detail).join(" "));
  return answer;
}

/** Load a part of a page as HTML. */
export async function part(url, { signal }) {
  const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(LONGEST_WAIT)]) });
  if (response.redirected) signIn();
  if (response.redirected || !response.ok) throw new Error(response.statusText);
  return response.text();
}
