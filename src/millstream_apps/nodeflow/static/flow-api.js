// Requests to the application; this page stands in its folder of assets.

/** An address of the application, wherever it is mounted. */
export const at = (path) => new URL(`../${path}`, document.baseURI);

/** The server said no. `errors` has one entry a fault. */
export class Refused extends Error {
  constructor(status, body) {
    super(body?.detail ?? body?.title ?? `the server answered ${status}`);
    this.status = status;
    this.errors = Array.isArray(body?.errors) ? body.errors : [];
  }
}

/** One request, as JSON. Raises Refused, or TypeError where the server cannot be reached. */
export async function api(path, options = {}) {
  const headers = { Accept: "application/json", ...options.headers };
  const response = await fetch(at(path), { ...options, headers });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}

const HEARD = ["step.partial", "step.result", "step.failed", "flow.dropped", "step.degraded", "step.recovered", "log.gap",
  "run.completed", "run.failed", "run.cancelled"];

/**
 * Follows a run's events from a cursor; the browser comes back by itself where a connection breaks.
 * @param {string} run @param {number} after
 * @param {(event: any) => void} take @param {(open: boolean) => void} link
 * @returns {() => void} ends it
 */
export function follow(run, after, take, link) {
  const source = new EventSource(at(`runs/${encodeURIComponent(run)}/events?after=${after}`));
  for (const type of HEARD) source.addEventListener(type, ({ data }) => take(JSON.parse(data)));
  source.onopen = () => link(true);
  source.onerror = () => link(source.readyState === EventSource.CLOSED);
  return () => source.close();
}
