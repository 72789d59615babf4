"""The command as a process: its signals, pipes and terminals; and `--app`, a server of its own."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

from millstream.cli.follow import RESULT_LINES
from tests.cli.processes import BOUND, HERE, MILLSTREAM, Spawned

SCREEN = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "90", "LINES": "24"}


def test_app_needs_no_server(spawn):
    process = spawn("run", "talk", "--field", "text=one", "--app", "cli_apps:app", "--json")
    said = process.ended()
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.lines[-1])["type"] == "run.completed"


def test_app_with_a_store_keeps_the_run(spawn, tmp_path):
    gate = tmp_path / "gate"
    store = f"sqlite:///{tmp_path}/runs.db"
    words = ["run", "talk", "--field", f"text=a wait:{gate}", "--app", "cli_apps:app"]
    process = spawn(*words, "--store", store, env={**os.environ, "MILLSTREAM_DRAIN": "0"})
    process.until("word + a")
    process.send(signal.SIGINT)
    said = process.ended()
    assert (said.status, said.out) == (130, "")
    assert f"millstream serve cli_apps:app --store {store}" in said.err


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_come_back(spawn, url, tmp_path):
    gate = tmp_path / "gate"
    process = spawn("run", "talk", "--field", f"text=a wait:{gate} c", "--url", url)
    process.until("word + a")
    process.send(signal.SIGINT)
    said = process.ended()
    assert (said.status, said.out) == (130, "")
    told = [line for line in said.progress if line.startswith("millstream: ")]
    assert told == said.progress[-1:]
    found = re.search(r"come back with: millstream (tail \S+ --after \d+ --url \S+)$", told[0])
    assert found
    gate.touch()
    again = spawn(*shlex.split(found[1])).ended()
    assert again.status == 0
    assert "word + c" in again.progress
    assert "word + a" not in again.progress
    assert json.loads(again.out)[-1] == 1


def test_ctrl_c_cancels_where_that_was_asked_for(spawn, url, tmp_path):
    words = ["--field", f"text=a wait:{tmp_path / 'gate'}", "--cancel-on-exit"]
    process = spawn("run", "talk", *words, "--url", url)
    process.until("word + a")
    process.send(signal.SIGINT)
    said = process.ended()
    assert (said.status, said.out) == (3, "")
    assert "cancelled by client: interrupted on the command line" in said.err


def test_a_second_ctrl_c_leaves_at_once(spawn, tmp_path):
    store = f"sqlite:///{tmp_path}/runs.db"
    server = spawn("serve", "cli_apps:app", "--port", "0", "--store", store)
    url = server.first_line().split(" at ")[1].split()[0]
    words = ["--field", f"text=a wait:{tmp_path / 'gate'}", "--cancel-on-exit"]
    process = spawn("run", "talk", *words, "--url", url)
    process.until("word + a")
    server.send(signal.SIGSTOP)
    process.send(signal.SIGINT)
    process.until("millstream: cancelling; Ctrl-C again leaves at once")
    process.send(signal.SIGINT)
    said = process.ended()
    assert said.status == 130
    assert said.progress[-1].startswith(
        "millstream: it may not have stopped; come back with: millstream tail "
    )


def test_leaving_a_run_in_memory_cancels_it(spawn, tmp_path):
    words = ["--field", f"text=a wait:{tmp_path / 'gate'}", "--app", "cli_apps:app"]
    process = spawn("run", "talk", *words)
    process.until("word + a")
    process.send(signal.SIGTERM)
    said = process.ended()
    assert said.status == 3
    assert "Traceback" not in said.err


# --- pipes ---------------------------------------------------------------------------------------


def test_a_pipe_gets_the_result_as_pure_json(spawn, url):
    run = shlex.join([*MILLSTREAM, "run", "talk", "--field", "text=one bad", "--url", url])
    read = shlex.join([sys.executable, "-m", "json.tool", "--compact"])
    said = spawn(f"{run} | {read}", command=["sh", "-c"]).ended()
    assert (said.status, said.out) == (0, "[3,null]\n")
    assert "word + one" in said.progress
    assert said.progress[-1].startswith("missing: length[1]")


@pytest.mark.parametrize("name", ["loud", "louder"])
def test_what_an_application_prints_is_no_result(spawn, name):
    words = ["run", name, "--field", "text=hello", "--app", f"cli_apps:{name}"]
    said = spawn(*words, env={**os.environ, "PYTHONUNBUFFERED": ""}).ended()
    assert (said.status, said.out) == (0, '"hello"\n')
    assert "printed by a step" in said.err


def test_an_encoding_that_lacks_a_character_gets_json_all_the_same(spawn, url):
    text = "é\N{PILE OF POO}牌"
    words = ["run", "talk", "--field", f"text={text}", "--url", url, "--json"]
    said = spawn(*words, env={**os.environ, "PYTHONIOENCODING": "ascii"}).ended()
    events = [json.loads(line) for line in said.lines]
    assert [event["data"] for event in events if event["type"] == "step.partial"] == [text]
    assert said.out.isascii()


@pytest.mark.parametrize(("closed", "out"), [("2>&-", "[\n  3\n]\n"), (">&-", "")])
def test_a_closed_stream_is_no_error(spawn, url, closed, out):
    run = shlex.join([*MILLSTREAM, "run", "talk", "--field", "text=one", "--url", url])
    said = spawn(f"{run} {closed}", command=["sh", "-c"]).ended()
    assert (said.status, said.out) == (0, out)
    assert "Traceback" not in said.err


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_reader_that_leaves_is_no_error(spawn, url, tmp_path, words):
    gate = tmp_path / "gate"
    ours, theirs = os.pipe()
    words = ["--field", f"text=a wait:{gate} b", "--url", url, *words]
    process = spawn("run", "talk", *words, stdout=theirs)
    os.close(theirs)
    if "--json" not in words:
        process.until("word + a")
    os.close(ours)
    gate.touch()
    said = process.ended()
    assert "millstream: " not in said.err
    assert "Traceback" not in said.err
    assert "Broken" not in said.err


# --- terminals -----------------------------------------------------------------------------------


def test_on_a_terminal_it_moves_while_the_pipe_gets_the_result(spawn, url):
    words = ["run", "talk", "--url", url, "--field", "text=one bad"]
    said = spawn(*words, terminals=("stderr",), env=SCREEN).ended()
    assert (said.status, said.out) == (0, "[\n  3,\n  null\n]\n")
    assert "word + one" in said.err
    assert "missing: length[1]" in said.err
    assert "\x1b[?25l" in said.err, "it moves"
    assert "\x1b[?25h" in said.err, "the cursor is given back"
    assert "\x1b[2J" not in said.err, "the step's message cannot clear the screen"


def test_json_draws_nothing_on_a_terminal(spawn, url):
    words = ["run", "talk", "--url", url, "--field", "text=one", "--json"]
    said = spawn(*words, terminals=("stderr",), env=SCREEN).ended()
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.lines[-1])["type"] == "run.completed"


def test_with_both_on_a_terminal_the_result_stands_below(url):
    # One terminal for both, as at a prompt: what stderr says comes out on stdout's end.
    command = shlex.join([*MILLSTREAM, "run", "talk", "--url", url, "--field", "text=one bad"])
    process = Spawned(["sh", "-c", f"{command} 2>&1"], terminals=("stdout",), env=SCREEN)
    try:
        said = process.ended()
    finally:
        process.kill()
    assert said.status == 0
    assert "\x1b[?25l" in said.out
    assert said.out.endswith("[\r\n  3,\r\n  null\r\n]\r\n")


def test_a_terminal_gets_the_beginning_of_a_long_result_and_the_way_to_the_rest(spawn, url):
    words = RESULT_LINES - 1  # and a line for each bracket: one too many
    text = " ".join(["word"] * words)
    asked = ["run", "talk", "--url", url, "--field", f"text={text}"]
    said = spawn(*asked, terminals=("stdout",)).ended()
    assert said.status == 0
    assert said.lines == ["[", *["  4,"] * (words - 1), "  4"]
    assert "\x1b" not in said.out + said.err
    found = re.fullmatch(
        rf"millstream: 1 of {words + 2} lines left out \(a file or a pipe gets all\); "
        r"come back with: millstream (tail \S+ --after \d+ --url \S+)",
        said.progress[-1],
    )
    assert found
    again = spawn(*shlex.split(found[1])).ended()
    assert (again.status, again.err) == (0, "")
    assert json.loads(again.out) == [4] * words


def test_a_result_that_just_fits_a_terminal_is_whole(spawn, url):
    text = " ".join(["word"] * (RESULT_LINES - 2))
    words = ["run", "talk", "--url", url, "--field", f"text={text}"]
    said = spawn(*words, terminals=("stdout",)).ended()
    assert json.loads(said.out) == [4] * (RESULT_LINES - 2)
    assert "left out" not in said.err


def test_nothing_brings_back_a_long_result_that_was_kept_in_memory(spawn):
    text = " ".join(["word"] * RESULT_LINES)
    words = ["run", "talk", "--app", "cli_apps:app", "--field", f"text={text}"]
    said = spawn(*words, terminals=("stdout",)).ended()
    assert len(said.lines) == RESULT_LINES
    assert said.progress[-1].endswith("(a file or a pipe gets all); it ends with this process")


def test_help_waits_for_no_server_and_no_client():
    code = (
        "import sys, millstream.cli;"
        "late = {'uvicorn', 'httpx', 'rich.live', 'millstream.client', 'millstream.cli.live'};"
        "print(sorted(late & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE, timeout=BOUND)
    assert (done.stdout, done.stderr) == ("[]\n", "")
