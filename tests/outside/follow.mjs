// node's fetch: follows a run over SSE, comes back with its cursor, prints each envelope on a line.
const [url, run] = process.argv.slice(2);
let cursor = 0;
let ended = false;

function block(text) {
  const fields = {};
  for (const line of text.split("\n")) {
    if (line.startsWith(":")) continue;
    const colon = line.indexOf(":");
    fields[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
  }
  if (fields.data === undefined) return;
  cursor = Number(fields.id);
  ended ||= ["run.completed", "run.failed", "run.cancelled"].includes(fields.event);
  console.log(fields.data);
}

while (!ended) {
  try {
    const headers = { Accept: "text/event-stream", "Last-Event-ID": String(cursor) };
    const response = await fetch(`${url}/runs/${run}/events`, { headers });
    if (response.status === 204) break;
    const decoder = new TextDecoder();
    let text = "";
    for await (const bytes of response.body) {
      text += decoder.decode(bytes, { stream: true });
      let end;
      while ((end = text.indexOf("\n\n")) >= 0) {
        block(text.slice(0, end));
        text = text.slice(end + 2);
      }
    }
  } catch (error) {
    console.error(String(error.cause ?? error));
    await new Promise((done) => setTimeout(done, 50));
  }
}
