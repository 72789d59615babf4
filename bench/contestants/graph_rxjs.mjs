// RxJS: operators on a subject. Its async line is concatMap: one message at a time, in order.
import { createRequire } from 'node:module';
import { BRANCHES, NODES, join, main, node, slowNode } from './graphing.mjs';

const { Subject, concatMap, lastValueFrom, map, tap, zip } = createRequire(
  `${process.env.BENCH_NODE}/`,
)('rxjs');

async function drive(flow) {
  const subject = new Subject();
  const out =
    flow.shape === 'diamond'
      ? zip(...BRANCHES.map((branch) => subject.pipe(map(branch)))).pipe(
          map((four) => join(...four)),
        )
      : Array.from({ length: NODES }).reduce(
          (line) => line.pipe(flow.shape === 'async' ? concatMap(slowNode) : map(node)),
          subject,
        );
  const ended = lastValueFrom(out.pipe(tap(flow.sink)));
  if (flow.rate) for await (const x of flow.paced()) subject.next(x);
  else for (const x of flow.numbers()) subject.next(x);
  subject.complete();
  await ended;
}

await main(drive);
