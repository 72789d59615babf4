"""How much begins in one turn of the event loop, and for whom."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from millstream.testing.clock import run_virtual
from millstream_apps.extract.turns import Turns

asked = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30)


@given(asked, st.integers(1, 4))
def test_a_few_each_turn_and_everybody_in_turn(asked, each):
    """`asked`: who, and whether they leave while they wait."""

    async def main():
        turns, turn = Turns(each), 0
        begun: list[tuple[int, str]] = []

        async def begin(who: str) -> None:
            await turns.take(who)
            begun.append((turn, who))

        tasks = [(asyncio.create_task(begin(who)), leaves) for who, leaves in asked]
        await asyncio.sleep(0)
        assert len(turns) == len(asked)
        for task, leaves in tasks:
            if leaves:
                task.cancel()
        while len(turns):
            await asyncio.sleep(0)
            turn += 1
        await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)
        stayed = [who for who, leaves in asked if not leaves]
        assert sorted(who for _, who in begun) == sorted(stayed)
        in_turn = [sum(at == number for at, _ in begun) for number in range(turn + 1)]
        assert max(in_turn, default=0) <= each
        for place in range(1, len(begun)):  # nobody gets another while one with fewer waits
            before = [who for _, who in begun[:place]]
            who = begun[place][1]
            waiting = {other for other in stayed if stayed.count(other) > before.count(other)}
            least = min(before.count(other) for other in waiting)
            assert before.count(who) <= least + len(asked) - len(stayed) + 1

    run_virtual(main())


def test_a_hundred_of_one_hold_up_nobody():
    async def main():
        turns, begun = Turns(1), []

        async def begin(who: str) -> None:
            await turns.take(who)
            begun.append(who)

        many = [asyncio.create_task(begin("many")) for _ in range(100)]
        await asyncio.sleep(0)
        one = asyncio.create_task(begin("one"))
        await one
        assert len(begun) <= 4
        await asyncio.gather(*many)
        assert len(begun) == 101

    run_virtual(main())
