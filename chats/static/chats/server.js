// Requests to the server, and texts for people when they fail.

const LONGEST_WAIT = 20_000; // milliseconds; a connection may be lost without any error
const texts = document.getElementById("texts").content;

/** A text of the page, in the language of the page. */
export const text = (name) => texts.querySelector(`[data-name="${name}"]`).textContent;

export class Refusal extends Error {
  /** `status` is 0 if the server could not be reached. */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The response to a request; throws a Refusal. */
export async function call(method, path, { attributes, headers } = {}) {
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const signal = AbortSignal.timeout(LONGEST_WAIT);
  const options = { method, signal, cache: "no-store", headers: { "X-CSRFToken": token, ...headers } };
  if (attributes) {
    options.body = JSON.stringify({ data: { attributes } });
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refusal(0, text("offline"));
  }
  if (response.ok || response.status === 304) return response;
  throw new Refusal(response.status, await reason(response));
}

/** The body of a response as "text" or "json"; throws a Refusal. */
export async function read(as, ...request) {
  const response = await call(...request);
  try {
    return await response[as]();
  } catch {
    throw new Refusal(0, text("offline"));
  }
}

async function reason(response) {
  const known = { 401: "signed-out", 403: "stale", 404: "closed" }[response.status];
  if (known) return text(known);
  try {
    return (await response.json()).errors[0].detail;
  } catch {
    return text("failed");
  }
}
