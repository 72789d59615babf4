// node's Web Streams: a TransformStream a node, each with room for 1,000 messages.
import { BRANCHES, NODES, join, main, node, slowNode } from './graphing.mjs';

const ROOM = { highWaterMark: 1000 };

const transform = (apply) =>
  new TransformStream(
    {
      transform(x, controller) {
        const made = apply(x);
        if (made instanceof Promise) return made.then((value) => controller.enqueue(value));
        controller.enqueue(made);
      },
    },
    ROOM,
    ROOM,
  );

function source(flow) {
  const values = flow.rate ? flow.paced() : flow.numbers();
  return new ReadableStream(
    {
      async pull(controller) {
        const { value, done } = await values.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
    },
    ROOM,
  );
}

function joined(branches) {
  const readers = branches.map((branch) => branch.getReader());
  return new ReadableStream(
    {
      async pull(controller) {
        const four = await Promise.all(readers.map((reader) => reader.read()));
        if (four[0].done) controller.close();
        else controller.enqueue(join(...four.map((each) => each.value)));
      },
    },
    ROOM,
  );
}

async function drive(flow) {
  let stream = source(flow);
  if (flow.shape === 'diamond') {
    const fours = stream.tee().flatMap((half) => half.tee());
    stream = joined(fours.map((branch, at) => branch.pipeThrough(transform(BRANCHES[at]))));
  } else {
    const apply = flow.shape === 'async' ? slowNode : node;
    for (let at = 0; at < NODES; at++) stream = stream.pipeThrough(transform(apply));
  }
  await stream.pipeTo(new WritableStream({ write: (x) => void flow.sink(x) }, ROOM));
}

await main(drive);
