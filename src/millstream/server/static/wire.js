// What stands on the wire: server-sent events out of text in any chunks (WHATWG HTML, 9.2.6), and
// whether an event is the next one of its log. Pure.
// EventSource would not hear a pipeline's own names (Context.emit), and leave holes in the log.

/** @typedef {{event: string, data: string, id: string}} Message */
/** @typedef {{tail: string, cr: boolean, event: string, data: string[], id: string}} State */

/** @type {State} Before the first byte. */
export const START = { tail: "", cr: false, event: "", data: [], id: "" };

/**
 * The messages that a chunk completes, and the state to go on with. A message that the end of the
 * stream cuts off never comes out.
 * @param {State} state
 * @param {string} chunk
 * @returns {{state: State, messages: Message[]}}
 */
export function parse(state, chunk) {
  const messages = [];
  if (chunk === "") return { state, messages };
  let { event, id } = state;
  let data = [...state.data];
  // A line feed right after a carriage return belongs to the same line end, chunks or not.
  const lines = (state.tail + (state.cr && chunk[0] === "\n" ? chunk.slice(1) : chunk)).split(/\r\n|\r|\n/);
  const tail = lines.pop();
  for (const line of lines) {
    if (line === "") {
      if (data.length) messages.push({ event: event || "message", data: data.join("\n"), id });
      [event, data] = ["", []];
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
    else if (field === "id" && !value.includes("\0")) id = value;
  }
  return { state: { tail, cr: chunk.endsWith("\r"), event, data, id }, messages };
}

/**
 * @typedef {{run: string, seq: number, type: string, step?: string, item?: number, index?: number,
 *   attempt?: number, fallback?: boolean, count?: number, time: string, data?: any}} Event
 */

/**
 * "take": the next one. "known": it was had before. "hole": something before it is missing, so the
 * log must be read again from the cursor. Positions are gapless; a notice stands for all it names.
 * @param {number} cursor
 * @param {Event} event
 * @returns {"take"|"known"|"hole"}
 */
export function admit(cursor, event) {
  if (event.seq <= cursor) return "known";
  const first = event.type === "log.gap" || event.type === "log.merged" ? event.data.from : event.seq;
  return first > cursor + 1 ? "hole" : "take";
}
