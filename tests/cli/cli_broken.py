"""A module whose pipeline cannot be built."""

from millstream import Pipeline

broken = Pipeline("broken")


@broken.step
async def first(second: int) -> int:
    return second


@broken.step
async def second(first: int) -> int:
    return first
