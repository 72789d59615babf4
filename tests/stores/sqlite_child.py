"""A process for the tests of this folder to kill: writes runs, and says what was acknowledged.

python sqlite_child.py PATH DURABILITY RUNS
"""

import asyncio
import sys

from millstream.events import Segment
from millstream.store import Run
from millstream.stores.sqlite import SqliteStore


async def main(path, durability, runs):
    store = SqliteStore(path, durability=durability)
    await store.open()
    print("open", flush=True)
    await asyncio.gather(*(write(store, f"r{number}") for number in range(runs)))


async def write(store, name):
    await store.create(Run(name, "p", 1.0), segment(name, 1, 1), worker="w", now=0, ttl=1e9)
    position = 1
    while True:
        print(name, position, flush=True)
        count = position % 3 + 1
        await store.append(name, 1, segment(name, position + 1, count))
        position += count


def segment(name, first, count):
    return Segment(first, tuple(f'"{name} {first + n}"'.encode() for n in range(count)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
