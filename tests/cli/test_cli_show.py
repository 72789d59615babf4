"""The pure parts of what is shown, the live display on a recorded terminal, and loading."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from millstream import Millstream, Pipeline, Settings
from millstream.cli import loading, texts
from millstream.cli.board import Board
from millstream.cli.live import Live
from millstream.errors import SettingsError
from millstream.events import Event


def event(type, step=None, item=None, data=None, **more):
    return Event(run="r", seq=1, type=type, step=step, item=item, data=data, **more)


FAILED = {"code": "c", "message": "m"}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (event("step.partial", "s", 2, "a  b\nc"), "s[2] + a b c"),
        (event("step.result", "s", None, {"a": [1]}), 's = {"a": [1]}'),
        (event("step.result", "s", None, 1, fallback=True), "s = 1 (fallback)"),
        (Event(run="r", seq=1, type="step.result", step="s"), "s = done"),
        (Event(run="r", seq=1, type="step.result", step="s", count=7), "s = 7 values"),
        (event("step.failed", "s", 0, FAILED), "s[0] ! c: m"),
        (event("step.failed", "s", 0, {**FAILED, "will_retry": True}), "s[0] ! c: m; it is tried "),
        (event("step.failed", "s", 0, {**FAILED, "fallback": True}), "s[0] ! c: m; its fallback "),
        (event("log.gap", data={"from": 2, "to": 5}), "(events 2 to 5 are no longer kept)"),
        (event("price.quoted", "s", None, 3), "s price.quoted 3"),
        (event("note", None, None, "hi"), "note hi"),
    ],
)
def test_what_stays_on_the_screen(told, line):
    assert (texts.story(told) or "").startswith(line)
    assert texts.started(told) is None


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (event("run.queued"), "run r"),
        (event("step.started", "s", 1), "s[1] …"),
        (event("step.started", "s", attempt=2), "s … (attempt 2)"),
        (event("step.progress", "s", data={"fraction": 0.4, "message": "x"}), "s 40% x"),
        (event("step.progress", "s", data=None), "s "),
        (event("run.started"), None),
        (event("run.completed"), None),
        (event("log.merged", data={"from": 1, "to": 2}), None),
    ],
)
def test_what_only_moves(told, line):
    assert texts.started(told) == line
    assert texts.story(told) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values, st.integers(2, 60))
def test_short_forms_are_one_safe_line(value, width):
    text = texts.short(value, width)
    assert len(text) <= width
    assert text.isprintable()


@given(json_values)
def test_a_result_in_full_is_safe_and_the_same_value(value):
    text = texts.pretty(value)
    assert all(line.isprintable() for line in text.split("\n"))
    assert json.loads(text) == value


def test_a_result_keeps_what_is_not_printable():
    text = texts.pretty("牌\u3000\x9b2J\U000e0001")
    assert text == '"牌\\u3000\\u009b2J\\udb40\\udc01"'


def test_the_board_holds_what_is_at_work():
    board = Board()
    for told in [
        event("run.started"),
        event("step.started", "a"),
        event("step.started", "b", 0),
        event("step.progress", "b", 0, {"fraction": 0.5, "message": "half"}),
        event("step.partial", "a", None, 1),
        event("step.failed", "b", 0, {**FAILED, "will_retry": True}),
        event("step.started", "b", 1),
        event("step.failed", "b", 1, FAILED),
        event("step.started", "c"),
        event("step.result", "c"),
    ]:
        board.apply(told)
    assert list(board.rows) == [("a", None), ("b", 0)]
    assert board.rows["a", None].values == 1
    assert board.rows["b", 0].waiting
    assert board.rows["b", 0].message == "m"
    assert repr(board) == "<Board running: 2 at work, 1 done, 1 failed>"
    board.apply(event("step.started", "b", 0, attempt=2))
    assert not board.rows["b", 0].waiting
    board.apply(event("run.cancelled"))
    assert (board.state, board.rows) == ("cancelled", {})


def test_a_reader_that_comes_late_gets_rows_too():
    board = Board()
    board.apply(event("step.progress", "a", 3, {"fraction": "?"}))
    assert list(board.rows) == [("a", 3)]


def test_more_rows_than_the_screen_has_are_counted():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=10)
    with Live(console) as live:
        for item in range(30):
            live.show(event("step.started", "read", item))
        live.show(event("step.progress", "read", 0, {"fraction": 0.5, "message": "[b]half[/b]"}))
        live.show(event("step.result", "read", 29, "[red]done[/red]"))
        live.say("no connection")
        live._display.refresh()
    shown = out.getvalue()
    assert "… and 23 more" in shown
    assert "[b]half[/b]" in shown
    assert "read[29] = [red]done[/red]" in shown
    assert "no connection" in shown


# --- loading -------------------------------------------------------------------------------------


def module(tmp_path, monkeypatch, name, text):
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


def test_settings_of_the_command_line_win_over_the_applications_own(tmp_path, monkeypatch):
    text = (
        "from millstream import Millstream, Pipeline, Settings\n"
        "p = Pipeline('p')\n"
        "@p.step\n"
        "async def s(x: int) -> int: return x\n"
        "app = Millstream(p, settings=Settings(heartbeat=3.0, port=1234))\n"
    )
    module(tmp_path, monkeypatch, "own_settings", text)
    app = loading.load_app("own_settings:app", {"port": 99, "host": None})
    assert (app.settings.heartbeat, app.settings.port) == (3.0, 99)
    assert isinstance(loading.load_app("own_settings:p", {}), Millstream)
    assert isinstance(loading.load("own_settings:p"), Pipeline)
    assert app.settings.host == Settings().host


def test_a_module_that_imports_what_is_not_there(tmp_path, monkeypatch):
    module(tmp_path, monkeypatch, "needs_more", "import not_installed_anywhere\n")
    with pytest.raises(SettingsError, match="No module named 'not_installed_anywhere'"):
        loading.load("needs_more")


def test_a_module_with_a_mistake_in_it(tmp_path, monkeypatch):
    module(tmp_path, monkeypatch, "mistaken", "def (:\n")
    with pytest.raises(SettingsError, match="mistaken cannot be imported: SyntaxError"):
        loading.load("mistaken:app")
