/* Asking this server, as the person who is signed in. */

const LONGEST_WAIT = 20_000; // milliseconds
const signIn = () => location.assign(`/sign-in?next=${encodeURIComponent(location.pathname)}`);

/** Send JSON to the API; the answer's document, or null where it has none. Throws an Error in words for people. */
export async function api(method, path, attributes) {
  const response = await fetch(`/api/v1${path}`, {
    method,
    signal: AbortSignal.timeout(LONGEST_WAIT),
    headers: {
      Accept: "application/json",
      "Content-Type": "application/json",
      "X-CSRFToken": document.querySelector('meta[name="csrf-token"]').content,
    },
    body: attributes && JSON.stringify({ data: { attributes } }),
  });
  const content = response.status === 204 ? null : await response.json();
  if (response.status === 401) signIn();
  if (!response.ok) throw new Error(content.errors.map((error) => error.detail).join(" "));
  return content;
}

/** A part of a page, as HTML. */
export async function part(url, { signal }) {
  const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(LONGEST_WAIT)]) });
  if (response.redirected) signIn();
  if (response.redirected || !response.ok) throw new Error(response.statusText);
  return response.text();
}
