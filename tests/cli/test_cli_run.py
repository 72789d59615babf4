"""run, tail, runs and cancel against a server, called in this process."""

import io
import json

import pytest


def test_progress_is_plain_lines_on_stderr_and_stdout_has_the_result_alone(cli, url):
    said = cli("run", "talk", "--field", "text=one three", "--url", url)
    assert said.status == 0
    assert said.progress[0].startswith("run ")
    for line in ["word + one", "word + three", "length[1] = 5", "lengths = [3, 5]"]:
        assert line in said.progress
    assert said.out == "[\n  3,\n  5\n]\n"


def test_json_is_one_envelope_a_line_and_nothing_else(cli, url):
    said = cli("run", "talk", "--field", "text=one", "--url", url, "--json")
    events = [json.loads(line) for line in said.lines]
    assert (said.status, said.err) == (0, "")
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "run.completed"


def test_a_failed_run_is_status_1_and_says_why(cli, url):
    said = cli("run", "talk", "--field", "text=one fail", "--url", url)
    assert said.status == 1
    assert said.out == ""
    assert "word ! step_error: ValueError: the word [red]fail" in said.progress
    told = "millstream: the run failed: step_error: ValueError: the word [red]fail"
    assert said.progress[-1] == told
    assert cli("run", "talk", "--field", "text=fail", "--url", url, "--json").status == 1


def test_what_is_missing_is_said_beside_the_result(cli, url):
    said = cli("run", "talk", "--field", "text=a bad one", "--url", url)
    assert said.status == 0
    assert said.progress[-1] == "missing: length[1]: step_error: ValueError: a bad word"
    assert json.loads(said.out) == [1, None, 3]


def test_control_characters_reach_no_terminal(cli, url):
    said = cli("run", "talk", "--field", "text=one\x1b[31mred", "--url", url)
    assert "\x1b" not in said.out + said.err
    assert "word 0% [bold]reading[/bold]\N{REPLACEMENT CHARACTER}[2J" in said.progress


# --- inputs --------------------------------------------------------------------------------------


def result(said):
    assert said.status == 0, said.err
    return json.loads(said.out)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, size in [("a.jpg", 1), ("b.jpg", 22), ("c=d.jpg", 333)]:
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "note.txt").write_text("from a file")


@pytest.mark.usefixtures("files")
def test_files_go_to_the_one_field(cli, url):
    words = ["--file", "a.jpg", "--file", "files=b.jpg", "--file", "c=d.jpg"]
    assert result(cli("run", "weigh", *words, "--url", url)) == [1, 22, 333]


@pytest.mark.usefixtures("files")
def test_files_and_fields_by_name(cli, url):
    words = ["--file", "front=a.jpg", "--file", "back=b.jpg", "--file", "back=c=d.jpg"]
    words += ["--field", "note=@note.txt", "--field", "tags=x", "--field", "tags=@@y"]
    assert result(cli("run", "both", *words, "--field", "factor=2.5", "--url", url)) == {
        "sizes": [1, 22, 333],
        "note": "from a file",
        "tags": ["x", "@y"],
        "factor": 2.5,
    }


def test_input_as_json_and_from_stdin(cli, url, monkeypatch):
    assert result(cli("run", "talk", "--input", '{"text": "one"}', "--url", url)) == [3]
    monkeypatch.setattr("sys.stdin", io.StringIO('{"text": "four"}'))
    assert result(cli("run", "talk", "--input", "@-", "--url", url)) == [4]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["talc"], "there is no pipeline 'talc'; there are: "),
        (["talk", "--field", "txt=one"], "txt: no such field; did you mean 'text'?"),
        (["talk", "--field", "text"], "'text' has no '='; write it as name=value"),
        (["talk", "--field", "text=@none"], "--field text: none cannot be read (No such file"),
        (["talk", "--file", "a.jpg"], "pipeline 'talk' takes no files"),
        (["weigh", "--file", "none.jpg"], "--file: none.jpg is not there"),
        (["weigh", "--file", "."], "--file: . is a folder"),
        (["both", "--file", "a.jpg"], "several fields for files; say which, as in --file front="),
        (["both", "--file", "frond=a.jpg"], "no field 'frond' for files; did you mean 'front'?"),
        (["talk", "--input", "{"], "--input: not JSON"),
        (["talk", "--input", "[1]"], "--input: give an object"),
        (["talk"], "text: is missing"),
        (["talk", "--store", "memory://"], "--store: is for --app"),
    ],
)
def test_what_is_wrongly_asked_is_status_2_and_one_line(cli, url, words, told):
    said = cli("run", *words, "--url", url)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("millstream: ")
    assert told in said.err
    assert said.err.count("\n") == 1


def test_without_a_server_it_says_how_to_have_one(cli):
    for words in (["run", "talk"], ["tail", "x"], ["runs"], ["cancel", "x"]):
        said = cli(*words, "--url", "http://127.0.0.1:9")
        assert said.status == 1
        assert said.err.count("\n") == 1
        assert "no server answers at http://127.0.0.1:9" in said.err
        assert "millstream serve" in said.err
        assert "--app module:app" in said.err


def test_an_address_that_is_none(cli):
    said = cli("runs", "--url", "localhost:8000")
    assert said.status == 1
    assert "write it as http://127.0.0.1:8000" in said.err


# --- runs that exist -----------------------------------------------------------------------------


def test_tail_shows_a_run_again_from_any_position(cli, url):
    whole = cli("run", "talk", "--field", "text=one two", "--url", url)
    run = whole.progress[0].removeprefix("run ")
    assert cli("tail", run, "--url", url) == whole
    envelopes = cli("tail", run, "--url", url, "--json").lines
    assert cli("tail", run, "--url", url, "--json", "--after", 3).lines == envelopes[3:]
    behind = cli("tail", run, "--url", url, "--after", len(envelopes))
    assert behind == (0, "[\n  3,\n  3\n]\n", "")


def test_tail_of_no_run(cli, url):
    said = cli("tail", "nothing", "--url", url)
    assert said.status == 2
    assert "there is no run 'nothing'" in said.err


def test_runs_are_listed_and_cancelled(cli, url, tmp_path, spawn):
    gate = tmp_path / "gate"
    process = spawn("run", "talk", "--field", f"text=a wait:{gate}", "--url", url)
    run = process.until("word + a").split()[1]
    listed = cli("runs", "--url", url, "--state", "running")
    assert listed.lines[0].split() == ["id", "state", "pipeline", "created", "seq"]
    assert listed.lines[1].split()[:3] == [run, "running", "talk"]
    assert cli("cancel", run, "--reason", "enough", "--url", url).out == f"run {run} is cancelled\n"
    said = process.ended()
    assert (said.status, said.out) == (3, "")
    assert said.progress[-1] == "millstream: cancelled by client: enough"
    (told,) = map(json.loads, cli("runs", "--limit", 1, "--json", "--url", url).lines)
    assert (told["id"], told["state"]) == (run, "cancelled")
    assert cli("runs", "--pipeline", "none", "--url", url) == (0, "", "")


def test_cancelling_what_has_ended_changes_nothing(cli, url):
    run = cli("run", "talk", "--field", "text=one", "--url", url).progress[0].split()[1]
    assert cli("cancel", run, "--url", url) == (0, f"run {run} had completed\n", "")
