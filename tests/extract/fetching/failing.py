"""How a fetch failed."""

import pytest

from millstream_apps.extract.fetching import FetchError


async def failure(awaitable) -> FetchError:
    with pytest.raises(FetchError) as raised:
        await awaitable
    return raised.value
