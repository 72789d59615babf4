"""Limits: how often, and how much at once. Decided on a clock at hand; told over real sockets."""

import asyncio
import json

import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import SSE, serving
from starlette.requests import Request

from millstream import PolicyError, Rate, RateLimited, SettingsError
from millstream.server.auth import Principal, caller
from millstream.server.limiting import Places, RateGate, Windows, asker, is_local, limit_headers

# --- rates ----------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def request(host="192.0.2.1"):
    return Request({"type": "http", "method": "GET", "headers": [], "client": (host, 1)})


def asked(gate, host="192.0.2.1"):
    """Whether a request is let in; what its limits say."""

    async def ask():
        try:
            await gate(request(host))
        except RateLimited as error:
            return False, dict(error.headers)
        return True, limit_headers()

    return asyncio.run(ask())


def gate_of(rate, clock):
    return RateGate("calls", Rate.of(rate), Windows(clock), clock)


@settings(max_examples=40, deadline=None)
@given(
    st.builds(
        Rate, st.integers(1, 20), st.sampled_from([0.5, 1.0, 7.0]), st.none() | st.integers(1, 30)
    ),
    st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_a_rate_holds_in_every_window(rate, pauses):
    clock = Clock()
    gate = gate_of(rate, clock)
    most, seconds = rate.window()
    let_in: list[float] = []
    for pause in pauses:
        clock.now += pause
        fresh = [at for at in let_in if at > clock.now - seconds]
        came_in, headers = asked(gate)
        assert came_in == (len(fresh) < most)
        if came_in:
            let_in.append(clock.now)
        else:
            assert fresh[0] + seconds <= clock.now + int(headers["Retry-After"])
        left = most - len([at for at in let_in if at > clock.now - seconds])
        assert int(headers["RateLimit-Remaining"]) == left


def test_a_burst_is_let_in_at_once_and_the_rate_holds_in_the_mean():
    clock = Clock()
    gate = gate_of(Rate(10, burst=20), clock)
    assert [asked(gate)[0] for _ in range(21)] == [True] * 20 + [False]
    count = 0
    for _ in range(1000):
        clock.now += 0.05
        count += asked(gate)[0]
    assert 460 <= count <= 500  # 50 seconds at 10 a second


def test_what_a_limit_says_of_itself():
    clock = Clock()
    gate = gate_of("3/min", clock)
    clock.now += 10
    _, told = asked(gate)
    assert told == {
        "RateLimit-Policy": '"calls";q=3;w=60',
        "RateLimit": '"calls";r=2;t=60',
        "RateLimit-Limit": "3",
        "RateLimit-Remaining": "2",
        "RateLimit-Reset": "60",
    }
    clock.now += 20.5
    assert [asked(gate)[0] for _ in range(2)] == [True, True]
    came_in, told = asked(gate)
    assert not came_in
    assert (told["Retry-After"], told["RateLimit-Reset"]) == ("40", "40")
    assert told["RateLimit"] == '"calls";r=0;t=40'


def test_several_limits_are_all_told_and_the_tightest_counts():
    clock = Clock()
    wide, tight = gate_of("100/s", clock), RateGate("few", Rate(2), Windows(clock), clock)

    async def ask():
        await wide(request())
        await tight(request())
        return limit_headers()

    told = asyncio.run(ask())
    assert told["RateLimit-Policy"] == '"calls";q=100;w=1, "few";q=2;w=1'
    assert told["RateLimit-Limit"] == "2"


def test_everybody_is_counted_apart_and_forgotten_again():
    clock = Clock()
    windows = Windows(clock)
    gate = RateGate("calls", Rate(1), windows, clock)
    hosts = [f"198.51.{n // 250}.{n % 250}" for n in range(2000)]
    assert all(asked(gate, host)[0] for host in hosts)
    assert not any(asked(gate, host)[0] for host in hosts[:50])
    clock.now += 2
    for _ in range(1100):
        asked(gate, "203.0.113.9")
    assert len(windows) == 1


@pytest.mark.parametrize(
    ("said", "rate"),
    [
        ("10/s", Rate(10)),
        ("30/15min", Rate(30, 900.0)),
        ("30/15 minutes", Rate(30, 900.0)),
        ("600 per minute", Rate(600, 60.0)),
        (" 5/DAY ", Rate(5, 86_400.0)),
        ("2/hours", Rate(2, 3600.0)),
    ],
)
def test_rates_are_written_as_people_do(said, rate):
    assert Rate.of(said) == Rate.of(rate) == rate


@pytest.mark.parametrize("said", ["", "10", "ten/s", "10/fortnight", "0/s", "-1/s", "1/0s"])
def test_what_is_no_rate_is_refused(said):
    with pytest.raises(PolicyError, match=r"[rR]ate"):
        Rate.of(said)


# --- who asks -------------------------------------------------------------------------------------


def test_an_asker_is_an_owner_or_an_address():
    assert asker(request("192.0.2.7")) == "address 192.0.2.7"
    assert asker(request("2001:db8:1:2:3:4:5:6")) == asker(request("2001:db8:1:2::9"))
    assert asker(request("2001:db8:1:2::1")) != asker(request("2001:db8:1:3::1"))
    assert asker(request("testclient")) == "address testclient"
    token = caller.set(Principal("ann", "laptop"))
    try:
        assert asker(request()) == "owner ann"
        assert not is_local(request("127.0.0.1"))
    finally:
        caller.reset(token)
    assert [is_local(request(h)) for h in ("127.0.0.1", "::1", "192.0.2.1", "x")] == [
        True,
        True,
        False,
        False,
    ]


# --- places ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_places_are_as_many_as_are_said(moves):
    places = Places("streams", most=5, each=3)
    open_: dict[str, list] = {name: [] for name in "abc"}
    for name, comes in moves:
        host = request(f"192.0.2.{ord(name)}")
        mine, count = open_[name], sum(map(len, open_.values()))
        if not comes:
            if mine:
                mine.pop()()
            continue
        if count < 5 and len(mine) < 3:
            mine.append(places.take(host))
            continue
        for refused in (places.take, places.check):
            with pytest.raises(RateLimited) as error:
                refused(host)
            assert error.value.code == "too_many_streams"
    assert len(places) == sum(map(len, open_.values()))


async def test_a_place_is_left_whatever_happens():
    places = Places("streams", most=1)

    class Response:
        status_code = 200

        async def __call__(self, scope, receive, send):
            assert len(places) == 1
            raise OSError("gone")

    with pytest.raises(ValueError, match="mine"), places.place(request()):
        raise ValueError("mine")
    assert len(places) == 0
    begun = []

    async def make() -> Response:
        begun.append(len(places))
        if len(begun) > 1:
            raise ValueError("not made")
        return Response()

    made = await places.holding(request(), make)
    with pytest.raises(RateLimited):
        await places.holding(request(), make)
    assert begun == [1]  # for the one that was refused nothing was begun
    with pytest.raises(OSError, match="gone"):
        await made({}, None, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not made"):
        await places.holding(request(), make)
    assert len(places) == 0


# --- served ---------------------------------------------------------------------------------------


async def test_requests_over_the_rate_are_refused_with_a_problem(tmp_path):
    async with serving(tmp_path, rate_limit="5/min", keys_file=tmp_path / "no.json") as served:
        answers = [await served.http.get("/pipelines") for _ in range(6)]
        assert [each.status_code for each in answers] == [200] * 5 + [429]
        assert [each.headers["ratelimit-remaining"] for each in answers] == [*"432100"]
        refused = answers[-1]
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.json()["code"], refused.json()["retryable"]) == ("rate_limited", True)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert (await served.http.get("/healthz")).status_code == 200  # probes are never counted


async def test_a_stream_tells_of_its_limit_too(tmp_path):
    async with serving(tmp_path, rate_limit="5/min", keys_file=tmp_path / "no.json") as served:
        answer = await served.http.post("/pipelines/count/runs", json={"n": 1}, headers=SSE)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["ratelimit"] == '"requests";r=4;t=60'


async def test_this_machine_without_a_key_is_not_counted_by_default(tmp_path):
    async with serving(tmp_path, keys_file=tmp_path / "no.json") as served:
        answer = await served.http.get("/pipelines")
        assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_a_key_is_counted_by_default(tmp_path):
    more = {"api_keys": ("some-key",), "keys_file": tmp_path / "no.json"}
    async with serving(tmp_path, **more) as served:
        answer = await served.http.get("/pipelines", headers={"X-API-Key": "some-key"})
        assert answer.headers["ratelimit-policy"] == '"requests";q=1200;w=60'


async def test_open_streams_are_counted_and_their_places_come_back(tmp_path):
    more = {"owner_streams": 2, "keys_file": tmp_path / "no.json"}
    async with serving(tmp_path, **more) as served:
        run = await served.start()
        path = f"/runs/{run}/events"
        async with served.stream(path), served.socket() as socket:
            await socket.send('{"type":"ping"}')
            assert json.loads(await socket.recv())["type"] == "pong"
            for asked_for in (
                await served.http.get(path),
                await served.http.post("/pipelines/talk/runs", json={"text": "a"}, headers=SSE),
            ):
                assert asked_for.status_code == 429
                assert asked_for.json()["code"] == "too_many_streams"
                assert asked_for.headers["retry-after"] == "1"
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with served.socket():
                    pass
            assert refused.value.response.status_code == 429
            assert len((await served.http.get("/runs")).json()["runs"]) == 1  # none begun in vain
        await served.until(lambda: len(served.app.service.places) == 0)
        served.gate.let(3)
        assert (await served.http.get(path)).status_code == 200
        assert len(served.app.service.places) == 0


async def test_requests_on_a_socket_count_too(tmp_path):
    async with serving(tmp_path, rate_limit="4/min", keys_file=tmp_path / "no.json") as served:
        async with served.socket() as socket:
            told = []
            for request in ("ping", *["start"] * 4, "ping"):
                document = {"type": request, "pipeline": "count", "input": {"n": 0}, "ref": "r"}
                await socket.send(json.dumps(document if request == "start" else {"type": request}))
                while (answer := json.loads(await socket.recv())).get("type") not in (
                    "pong",
                    "started",
                    "error",
                ):
                    pass
                told.append(answer)
            assert [each["type"] for each in told] == ["pong", *["started"] * 3, "error", "pong"]
            assert told[-2]["code"] == "rate_limited"
        assert len(await served.app.service.runs()) == 3


async def test_streams_in_all_are_bounded(tmp_path):
    async with serving(tmp_path, streams=1, keys_file=tmp_path / "no.json") as served:
        run = await served.start()
        async with served.stream(f"/runs/{run}/events"):
            assert (await served.http.get(f"/runs/{run}/events")).status_code == 429
            assert (await served.http.get(f"/runs/{run}")).status_code == 200
        served.gate.let(3)


def test_a_rate_that_is_none_is_refused_when_served(tmp_path):
    from serving import make_app

    with pytest.raises((PolicyError, SettingsError), match="1200/minut"):
        _ = make_app(tmp_path, rate_limit="1200/minut!").service
