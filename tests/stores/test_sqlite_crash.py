"""What was acknowledged outlives kill -9 of the process that wrote it (laws 1 and 2)."""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from millstream.errors import StaleEpoch, StoreError
from millstream.events import Segment, flatten
from millstream.stores.sqlite import SqliteStore

CHILD = Path(__file__).parent / "sqlite_child.py"


def start(path, durability="full", runs=8):
    command = [sys.executable, str(CHILD), str(path), durability, str(runs)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    return child


def kill_after(child, lines):
    """Kill -9 at that acknowledgement; returns the last position acknowledged of each run."""
    acknowledged = Counter()
    for count, line in enumerate(child.stdout, 1):
        name, _, position = line.rstrip("\n").partition(" ")
        if line.endswith("\n"):
            acknowledged[name] = int(position)
        if count == lines:
            child.kill()  # what is in the pipe by now was acknowledged, and is read on
    child.communicate()
    return acknowledged


async def whole_log(store, name):
    events = []
    while (page := await store.read(name, len(events))).segments:
        events += flatten(page.segments)
    return events


@pytest.mark.parametrize("durability", ["full", "process"])
@pytest.mark.parametrize("seed", range(5))
async def test_everything_acknowledged_is_there_after_kill_9(seed, durability, tmp_path):
    path = tmp_path / "runs.db"
    child = start(path, durability)
    acknowledged = kill_after(child, random.Random(seed).randrange(20, 3000))
    assert child.returncode == -9
    assert sum(acknowledged.values()) >= 20

    store = SqliteStore(path)
    await store.open()
    for name, position in acknowledged.items():
        log = await whole_log(store, name)
        assert log == [f'"{name} {seq}"'.encode() for seq in range(1, len(log) + 1)]
        assert len(log) >= position
        with pytest.raises(StaleEpoch):  # its lease was void from open on
            await store.append(name, 1, Segment(len(log) + 1, (b"{}",)))
    leases = [await store.claim("w", pipelines=["p"], now=0, ttl=9) for _ in acknowledged]
    assert {lease.run.id for lease in leases if lease} == set(acknowledged)
    assert {lease.epoch for lease in leases if lease} == {2}
    await store.close()


async def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path):
    path = tmp_path / "runs.db"
    child = start(path)
    store = SqliteStore(path)
    with pytest.raises(StoreError) as caught:
        await store.open()
    assert str(path) in caught.value.message
    assert f"process {child.pid}" in caught.value.message
    assert "--store" in caught.value.message
    kill_after(child, 1)
    await store.open()
    await store.close()
