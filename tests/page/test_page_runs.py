"""The built-in page in a real browser: what a person does, and what then stands on the page."""

import gzip
import json
from pathlib import Path

import pytest

from tests.page.browser import Browser, Page
from tests.page.conftest import PIPELINES, Server, Wire, serving
from tests.page.pipelines import HOSTILE

READY = "globalThis.millstream && document.querySelector('form:not([hidden])')"
START = "form:not([hidden]) .primary"
DECKS = sorted((Path(__file__).parents[2] / "examples/decks").glob("*.jpg"))


def choose(page: Page, pipeline: str, text: str | None = None) -> None:
    """Choose a pipeline, and fill its first field."""
    page.click(f"#pipeline-{pipeline}")
    if text is not None:
        page.fill(f"#field-{pipeline}-0", text)


def run(page: Page) -> dict:
    """The newest run's own state: what it read, and whether that is gapless."""
    return page.evaluate("""(() => {
        const card = [...millstream.runs.values()].at(-1);
        const positions = card.log.entries.map(({ line }) => JSON.parse(line));
        let cursor = 0;
        const gapless = positions.every((event) => {
            const first = event.type.startsWith("log.") ? event.data.from : event.seq;
            const follows = first === cursor + 1;
            cursor = event.seq;
            return follows;
        });
        return { id: card.run, gapless, cursor, taken: card.taken, known: card.follower.known,
            types: positions.map((event) => event.type) };
    })()""")


def state(page: Page, wanted: str, within: float = 20) -> None:
    """Wait until the newest run stands so."""
    page.wait(f"document.querySelector('.run').dataset.state === '{wanted}'", within)


def whole(page: Page) -> dict:
    """The newest run, ended, with every event once."""
    found = run(page)
    assert found["gapless"]
    assert found["types"][-1] in ("run.completed", "run.failed", "run.cancelled")
    assert found["types"].count(found["types"][-1]) == 1
    return found


# --- starting and following -----------------------------------------------------------------------


def test_values_arrive_while_the_run_is_at_work(page: Page, server: Server) -> None:
    page.go(server.url)
    page.wait(READY)
    choose(page, "words", "one three five")
    page.click(START)
    page.wait("document.querySelector('.node .told').textContent === '2 values · three'")
    assert page.text(".items tbody tr:nth-child(2) .item-name") == "three"
    assert page.text(".run .state") == "running"
    server.let("words")
    page.wait("document.querySelector('.result .scalar')?.textContent === '12'")
    state(page, "completed")
    assert "word.seen" in whole(page)["types"]  # a name that the page cannot know beforehand


def test_every_kind_of_field_is_sent_as_its_type(page: Page, server: Server) -> None:
    page.go(server.url)
    page.wait(READY)
    choose(page, "order", "A title")
    values = {1: "3", 2: "0.5", 4: '"glossy"', 5: "a\nb\n", 6: "1\n2", 7: '{"x": 1}'}
    for at, value in values.items():
        page.evaluate(f"document.querySelector('#field-order-{at}').value = {json.dumps(value)}")
    page.click("#field-order-3")
    page.click(START)
    state(page, "completed")
    result = page.evaluate("[...millstream.runs.values()][0].fold.result")
    assert result == {
        "title": "A title",
        "copies": 3,
        "ratio": 0.5,
        "urgent": True,
        "paper": "glossy",
        "tags": ["a", "b"],
        "sizes": [1, 2],
        "extra": {"x": 1},
    }


def test_errors_stand_beside_their_fields(page: Page, server: Server) -> None:
    page.expected = ["422"]
    page.go(server.url)
    page.wait(READY)
    choose(page, "order", "t")
    page.evaluate("document.querySelector('#field-order-7').value = '{'")
    page.click(START)
    assert "JSON" in page.text("#field-order-7-fault")
    page.evaluate("document.querySelector('#field-order-7').value = '{\"a\": \"x\"}'")
    page.evaluate("document.querySelector('#field-order-1').value = '77'")
    page.click(START)
    page.wait("document.querySelector('#field-order-1-fault').textContent.includes('9')")
    assert page.text("#field-order-7-fault").startswith("extra.a: ")
    assert page.evaluate("document.activeElement.id") == "field-order-1"
    assert page.evaluate("millstream.runs.size") == 0


def test_attempts_fallbacks_and_failures_are_told_apart(page: Page, server: Server) -> None:
    page.go(server.url)
    page.wait(READY)
    choose(page, "trouble", "first\nsecond\nthird")
    page.click(START)
    state(page, "completed")
    rows = page.evaluate("[...document.querySelectorAll('tbody tr')].map((row) => row.innerText)")
    assert "↻" not in rows[0]
    assert "↻2" in rows[1]
    assert "fallback" in rows[2]
    assert page.text(".result .prose") == "first / second / third, in another way"
    choose(page, "trouble", "fourth")
    page.click(START)
    state(page, "failed")
    assert "there is no verdict for four" in page.text(".run > .fault")
    assert "too_many" in page.text(".run > .fault")
    whole(page)


def test_files_may_be_dropped_and_pasted_and_taken_out(page: Page, server: Server) -> None:
    page.go(server.url)
    page.wait(READY)
    page.click("#pipeline-hostile")
    page.evaluate("""for (const type of ["drop", "paste"]) {
        const carried = new DataTransfer();
        carried.items.add(new File(["no picture"], `${type}.png`, { type: "image/png" }));
        const Kind = type === "drop" ? DragEvent : ClipboardEvent;
        const given = { dataTransfer: carried, clipboardData: carried };
        document.body.dispatchEvent(new Kind(type, { bubbles: true, cancelable: true, ...given }));
    }""")
    names = "[...document.querySelectorAll('.file-name')].map((name) => name.textContent)"
    assert page.evaluate(names) == ["drop.png", "paste.png"]
    page.click(".remove")
    assert page.evaluate(names) == ["paste.png"]
    page.wait("document.querySelector('.thumbs span.thumb')?.textContent === 'png'")  # no picture
    page.click(START)
    state(page, "completed")
    assert page.text("tbody .item-name") == "paste.png"


def test_a_lost_answer_starts_one_run_and_no_more(page: Page, server: Server) -> None:
    page.go(server.url)
    page.wait(READY)
    page.evaluate("""{
        const send = fetch;
        let lost = false;
        globalThis.fetch = async (url, options) => {
            const answer = await send(url, options);
            if (lost || options.method !== "POST") return answer;
            lost = true;
            await answer.body.cancel();
            throw new TypeError("lost on the way");
        };
    }""")
    choose(page, "order", "only once")
    before = page.evaluate("fetch('runs?limit=500', {}).then((r) => r.json())")["runs"]
    page.click(START)
    state(page, "completed")
    after = page.evaluate("fetch('runs?limit=500', {}).then((r) => r.json())")["runs"]
    assert len(after) == len(before) + 1
    assert whole(page)["id"] == after[0]["id"]


def test_cancel(page: Page, server: Server) -> None:
    page.go(server.url)
    page.wait(READY)
    choose(page, "waiting", "a\nb")
    page.click(START)
    page.wait("document.querySelector('.chip[data-state=running]')?.textContent === '25 %'")
    assert page.text("tbody .told") == "at the gate"
    page.click(".run .danger")
    state(page, "cancelled")
    assert "cancelled on the page" in page.text(".run")
    assert not page.evaluate("document.querySelector('.run .danger').getClientRects().length")
    whole(page)


def test_more_runs_than_a_browser_has_connections(page: Page, server: Server) -> None:
    page.go(server.url)
    page.wait(READY)
    for at in range(8):
        choose(page, "waiting", f"run {at}")
        page.click(START)
        page.wait(f"millstream.runs.size === {at + 1}")
    page.wait("document.querySelectorAll('.run[data-state=running]').length === 8")
    page.click(".run .danger")  # the newest; its answer needs a connection, too
    state(page, "cancelled")
    server.let("waiting")
    page.wait("document.querySelectorAll('.run[data-state=completed]').length === 7")
    assert page.evaluate("[...millstream.runs.values()].every((card) => card.follower.known === 0)")


# --- coming back ----------------------------------------------------------------------------------


def test_a_reload_in_mid_run_reads_the_log_from_its_begin(page: Page, server: Server) -> None:
    page.go(server.url)
    page.wait(READY)
    choose(page, "words", "one three five")
    page.click(START)
    page.wait("document.querySelector('.node .told')?.textContent === '2 values · three'")
    before = run(page)
    page.call("Page.reload")
    page.wait(
        f"document.querySelector('.node .told')?.textContent === '2 values · three' && {READY}"
    )
    assert page.evaluate("location.hash") == f"#run={before['id']}"
    server.let("words")
    state(page, "completed")
    assert whole(page)["id"] == before["id"]
    assert page.text(".items tbody tr:nth-child(3) .item-name") == "five"


def test_a_link_opens_its_run_and_an_unknown_one_says_so(page: Page, server: Server) -> None:
    page.expected = ["404"]
    page.go(f"{server.url}#run=no-such-run")
    page.wait("document.querySelector('.run .banner').textContent.includes('no such run')")
    choose(page, "order", "t")
    page.click(START)
    state(page, "completed")
    assert page.evaluate("millstream.runs.size") == 2
    page.click(".run .run-id")
    page.wait("millstream.runs.size === 1")
    page.click(".run .actions .quiet")
    page.wait("millstream.runs.size === 0 && location.hash === ''")


def test_a_cut_connection_is_read_on_from_the_cursor(
    page: Page, server: Server, wire: Wire
) -> None:
    page.expected = ["net::ERR_"]
    page.go(wire.open(server.port))
    page.wait(READY)
    choose(page, "words", "one three five")
    page.click(START)
    page.wait("document.querySelector('.node .told')?.textContent === '2 values · three'")
    for connections in (2, 3):
        wire.cut()
        page.wait(f"[...millstream.runs.values()][0].follower.connections === {connections}")
    server.let("words")
    state(page, "completed")
    assert whole(page)["known"] == 0


def test_a_killed_server_comes_back(page: Page, chromium: Browser, tmp_path: Path) -> None:
    page.expected = ["net::ERR_"]  # what is under way when the server dies: the page's icon, even
    with serving(PIPELINES, tmp_path) as server:
        page.go(server.url)
        page.wait(READY)
        choose(page, "waiting", "a\nb\nc")
        page.click(START)
        page.wait("document.querySelectorAll('.chip[data-state=running]').length === 3")
        server.kill()
        page.wait("document.querySelector('.run .banner:not([hidden])')")
        assert "Reconnecting" in page.text(".run .banner")
        server.start()
        server.let("waiting")
        state(page, "completed", 30)
        found = whole(page)
        assert found["known"] == 0
        assert not page.evaluate("document.querySelector('.run .banner:not([hidden])')")
        rows = page.evaluate("[...document.querySelectorAll('.values li')].map((r) => r.innerText)")
        assert [row.split()[-1] for row in rows] == ["a", "b", "c"]


# --- much, and bad --------------------------------------------------------------------------------


def test_ten_thousand_events_in_some_hundred_nodes(page: Page, server: Server) -> None:
    page.go(server.url)
    page.wait(READY)
    choose(page, "many", "10000")
    page.click(START)
    page.wait("document.querySelector('.events summary').textContent.startsWith('10,0')")
    page.click(".events summary")
    page.wait("document.querySelector('.spacer .log-row')")
    server.let("many")
    state(page, "completed")
    assert whole(page)["cursor"] == 10_005
    assert page.evaluate("document.querySelectorAll('.log *').length") < 300
    assert page.evaluate("document.querySelectorAll('*').length") < 1000
    page.wait("document.querySelector('.spacer').lastChild.textContent.includes('run.completed')")
    page.evaluate("document.querySelector('.log-view').focus()")
    for key in ("Home", "ArrowDown"):
        page.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key)
    page.wait("document.querySelector('.log-detail').textContent.includes('run.started')")
    page.wait("document.querySelector('.result li').textContent.includes('9,900 earlier')")


def test_what_comes_from_outside_is_text(page: Page, server: Server, tmp_path: Path) -> None:
    names = [f"bad{HOSTILE.replace('/', '')}.png", f"{HOSTILE.replace('/', '')}.png"]
    files = [tmp_path / name for name in names]
    for file in files:
        file.write_bytes(b"no picture")
    page.go(server.url)
    page.wait(READY)
    page.click("#pipeline-hostile")
    page.give_files("#field-hostile-0", files)
    page.wait("document.querySelectorAll('.thumbs li').length === 2")
    shown = page.evaluate("[...document.querySelectorAll('.file-name')].map((e) => e.textContent)")
    assert shown == names
    page.click(START)
    state(page, "completed")
    page.click(".events summary")
    page.wait("document.querySelector('.spacer .log-row')")
    page.click(".result details summary")
    page.wait(f"document.querySelector('.result').textContent.includes({json.dumps(HOSTILE)})")
    assert HOSTILE in page.text("tbody tr .told")
    assert page.evaluate("document.title") == "Millstream"
    assert page.evaluate("document.querySelectorAll('#runs img, #runs script').length") == 0
    whole(page)


def test_the_policy_holds(page: Page, server: Server) -> None:
    page.expected = ["Content Security Policy", "This document requires"]
    page.go(server.url)
    page.wait(READY)
    refused = """(async () => {
        const stopped = (act) => { try { act(); return false; } catch { return true; } };
        const script = document.createElement("script");
        return {
            html: stopped(() => (document.body.innerHTML = "<b>")),
            script: stopped(() => (script.text = "globalThis.broken = true")),
            away: await fetch("https://example.org/").then(() => false, () => true),
        };
    })()"""
    page.call("Network.disable")  # what the policy stops never leaves: see `hosts`
    assert set(page.evaluate(refused).values()) == {True}


@pytest.mark.parametrize("width", [360, 800, 2560])
def test_nothing_sticks_out_sideways(page: Page, server: Server, width: int) -> None:
    page.size(width, 900)
    page.go(server.url)
    page.wait(READY)
    choose(page, "trouble", f"second\nthird\n{'long' * 60}")
    page.click(START)
    state(page, "completed")
    page.click(".events summary")
    page.wait("document.querySelector('.spacer .log-row')")
    page.wait("document.querySelector('.result .prose')")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_is_small() -> None:
    static = Path(__file__).parents[2] / "src/millstream/server/static"
    files = [file.read_bytes() for file in static.iterdir()]
    assert sum(map(len, files)) < 75_000
    assert len(gzip.compress(b"".join(files))) < 25_000


# --- decklists ------------------------------------------------------------------------------------


@pytest.fixture
def with_decks(page: Page, decklists: Server, tmp_path: Path) -> Page:
    """A batch of three decks and a file that is none, started."""
    notes = tmp_path / "notes.txt"
    notes.write_text("no picture")
    page.go(decklists.url)
    page.wait(READY)
    page.give_files("input[type=file]", [DECKS[2], notes, DECKS[7], DECKS[9]])
    page.wait("document.querySelector('.primary').textContent === 'Start with 4 files'")
    page.wait("[...document.images].every((image) => image.complete)")
    page.click(START)
    return page


def test_decks_arrive_and_can_be_copied(with_decks: Page) -> None:
    page = with_decks
    so_far = "document.querySelector('.run h3').textContent === 'Result so far'"
    page.wait(f"document.querySelector('.deck') && {so_far}", 60)
    state(page, "completed", 60)
    page.wait("document.querySelectorAll('.deck').length === 3")
    assert page.text(".run .state") == "completed in part"
    files = page.evaluate("[...document.querySelectorAll('.deck-file')].map((e) => e.textContent)")
    assert files == [DECKS[at].name for at in (2, 7, 9)]
    assert "notes.txt" in page.text(".deck-failures")
    assert page.evaluate("document.querySelectorAll('.deck img').length") == 3
    counted = "[...document.querySelectorAll('.deck')].map((d) => d.querySelectorAll('li').length)"
    assert min(page.evaluate(counted)) > 10
    page.evaluate(
        "navigator.clipboard.writeText = (text) => (globalThis.copied = text, Promise.resolve())"
    )
    page.click(".deck footer button")
    page.wait("globalThis.copied?.startsWith('Legend:')")
    page.click(".deck footer button:last-child")
    page.wait("globalThis.copied.startsWith('Card ID,Normal,Foil')")
    whole(page)


def test_failed_files_are_tried_again(with_decks: Page) -> None:
    page = with_decks
    state(page, "completed", 60)
    page.click(".deck-bar button")
    page.wait("millstream.runs.size === 2")
    state(page, "completed")
    page.wait("document.querySelector('.run .deck-failures')?.textContent.includes('notes.txt')")
    assert (
        page.evaluate("document.querySelectorAll('.run')[0].querySelectorAll('.deck').length") == 0
    )
    whole(page)
    page.call("Page.reload")
    page.wait(f"{READY} && document.querySelectorAll('.run[data-state=completed]').length === 2")
    page.wait("document.querySelectorAll('.deck').length === 3")
    page.wait(
        "document.querySelectorAll('.run .deck-failures')[1].textContent.includes('notes.txt')"
    )


def test_a_deck_is_text_too_and_says_what_is_uncertain(page: Page, decklists: Server) -> None:
    page.go(decklists.url)
    page.wait(READY)
    entry = {
        "name_cn": HOSTILE,
        "quantity": 12,
        "name_en": HOSTILE,
        "card_number": HOSTILE,
        "image_url_en": "javascript:document.title=3",
        "match_score": 83.4,
        "match_type": "fuzzy_full",
    }
    exact = entry | {"match_type": "exact_full", "image_url_en": "https://example.org/card.webp"}
    deck = {
        "metadata": dict.fromkeys(["player", "deck_name", "event", "date"], HOSTILE)
        | {"placement": 3, "legend_name_en": None},
        "legend": [exact],
        "main_deck": [entry],
        "battlefields": [],
        "runes": [],
        "side_deck": [],
        "stats": {"total_cards": 25, "matched_cards": 24, "accuracy": 96.0},
        "unmatched": [{"name_cn": HOSTILE, "section": "runes", "quantity": 1}],
    }
    page.evaluate(f"""import("./assets/result-decklists.js").then(({{ render }}) => {{
        const context = {{ items: [0], missing: [], label: () => {json.dumps(HOSTILE)},
            picture: () => undefined, state: "completed" }};
        render(document.getElementById("runs"), [{json.dumps(deck)}], context);
    }})""")
    assert page.text(".deck h4") == HOSTILE
    assert page.text(".deck .fuzzy") == "≈ 83"
    assert page.evaluate("document.querySelectorAll('.deck .fuzzy').length") == 1
    assert "Not matched1" in page.text(".deck-unmatched")
    links = page.evaluate("[...document.querySelectorAll('.deck a')].map((a) => [a.href, a.rel])")
    assert links == [["https://example.org/card.webp", "noopener noreferrer"]]
    assert page.evaluate("document.title") == "Millstream"
    assert page.evaluate("document.querySelectorAll('#runs img, #runs script').length") == 0
