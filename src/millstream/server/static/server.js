// Requests to the server that this page came from, and its errors (RFC 9457 problem documents).

/** An address of the application, wherever it is mounted: the page stands in its folder. */
export const at = (path) => new URL(path, new URL(".", document.baseURI));

export const runPath = (run) => `runs/${encodeURIComponent(run)}`;

/** The server said no. `errors` has one entry a field at fault. */
export class Problem extends Error {
  constructor(response, body) {
    const said = body?.detail ?? body?.title ?? response.statusText;
    super(typeof said === "string" ? said : JSON.stringify(said));
    this.status = response.status;
    this.code = body?.code ?? "";
    this.errors = Array.isArray(body?.errors) ? body.errors : [];
    this.retryAfter = Number(response.headers.get("Retry-After"));
  }
}

const KEY = "millstream-key";

/** Asks for a key where the one in use (or none) is not enough; whether there is another to try. */
function otherKey(used) {
  if (sessionStorage.getItem(KEY) !== used) return true; // a request beside this one has asked
  const said = prompt("This server asks for an API key.", "")?.trim();
  if (said) sessionStorage.setItem(KEY, said);
  return Boolean(said);
}

/** One request. Raises Problem, or TypeError where the server cannot be reached. */
export async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY); // gone with the tab
  const headers = key ? { ...options.headers, "X-API-Key": key } : options.headers;
  const response = await fetch(at(path), { ...options, headers });
  if (response.ok) return response;
  if (response.status === 401 && otherKey(key)) return ask(path, options);
  throw new Problem(response, await response.json().catch(() => null));
}

export async function askJson(path) {
  return (await ask(path, { headers: { Accept: "application/json" } })).json();
}

/** Whether trying the same again may help: the network failed, or the server says "not now". */
export function isPassing(error) {
  return error instanceof Problem ? [429, 502, 503, 504].includes(error.status) : error instanceof TypeError;
}

/** Waits before try number `tries`: as long as the server says, or doubling to 15 s, by chance;
 * or until the network is back or `signal` says stop. */
export function backOff(tries, error, signal) {
  const ms = error?.retryAfter * 1000 || Math.min(15_000, 400 * 2 ** tries) * (0.6 + 0.4 * Math.random());
  return new Promise((resolve) => {
    const once = { once: true };
    setTimeout(resolve, ms);
    addEventListener("online", resolve, once);
    signal?.addEventListener("abort", resolve, once);
  });
}

/** Does something until it works, fails for good, or was tried `most` times. */
export async function persist(attempt, { most = Infinity, waiting, signal } = {}) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (signal?.aborted || tries + 1 >= most || !isPassing(error)) throw error;
      waiting?.();
      await backOff(tries, error, signal);
    }
  }
}

/** Starts a run; the response streams its events. Sent again under the same Idempotency-Key where
 * it broke off: it starts one run and no more. */
export function startRun(pipeline, { body, type }, waiting) {
  const key = crypto.getRandomValues(new Uint32Array(4)).join("-"); // randomUUID is missing on plain http
  const headers = { Accept: "text/event-stream", "Idempotency-Key": key, ...(type && { "Content-Type": type }) };
  const path = `pipelines/${encodeURIComponent(pipeline)}/runs`;
  return persist(() => ask(path, { method: "POST", body, headers }), { most: 5, waiting });
}

/** The run that a response's Location names. */
export function runOf(response) {
  const location = new URL(response.headers.get("Location"), response.url);
  return decodeURIComponent(location.pathname.split("/").pop());
}
