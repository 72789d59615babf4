// How numbers, times and values are written on this page. Pure.

/** 1234567 -> "1.2 MB". */
export function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Milliseconds as "85 ms", "4.6 s", "12 s", "3:05 min". */
export function duration(ms) {
  const seconds = ms / 1000;
  if (seconds < 1) return `${Math.max(0, Math.round(ms))} ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")} min`;
}

/** "just now", "5 min ago", "3 h ago", or the date. @param {string} time RFC 3339 */
export function ago(time) {
  const minutes = Math.floor((Date.now() - Date.parse(time)) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  return minutes < 1440 ? `${Math.floor(minutes / 60)} h ago` : time.slice(0, 10);
}

/** 3, "file" -> "3 files". */
export function many(n, one) {
  return `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;
}

/** Any JSON value in a few characters, on one line. */
export function brief(value, most = 60) {
  if (Array.isArray(value) && value.length > 20) return many(value.length, "value");
  const text = typeof value === "string" ? value.slice(0, 4 * most) : (JSON.stringify(value) ?? "");
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}
