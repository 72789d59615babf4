// Reads one JSON a line (chunks of a stream, or a cursor and an event), answers one JSON a line.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { START, admit, parse } = await import(pathToFileURL(process.argv[2]).href);

for await (const line of createInterface({ input: process.stdin })) {
  const { chunks, cursor, event } = JSON.parse(line);
  if (event) {
    console.log(JSON.stringify(admit(cursor, event)));
    continue;
  }
  let state = START;
  const messages = [];
  for (const chunk of chunks) {
    const parsed = parse(state, chunk);
    state = parsed.state;
    messages.push(...parsed.messages);
  }
  console.log(JSON.stringify(messages));
}
