"""`millstream keys`, and the commands that show a key to a server."""

import pytest

from millstream import Millstream, Pipeline, Settings, SettingsError
from millstream.cli.serve import check_address
from millstream.server import keys


@pytest.fixture
def file(tmp_path):
    return tmp_path / "keys.json"


def test_a_key_is_printed_once_and_opens_the_server(cli, spawn, file, tmp_path, monkeypatch):
    made = cli("keys", "add", "laptop", "--owner", "ann", "--file", file)
    key = made.out.strip()
    assert made.status == 0
    assert [each.sha256 for each in keys.read(file)] == [keys.hashed(key)]
    assert key not in made.err
    listed = cli("keys", "list", "--file", file)
    assert listed.out.split("\t")[:2] == ["laptop", "ann"]
    assert key not in listed.out

    monkeypatch.setenv("MILLSTREAM_KEYS_FILE", str(file))
    store = f"sqlite:///{tmp_path}/runs.db"
    server = spawn("serve", "cli_apps:app", "--port", "0", "--store", store)
    url = server.first_line().split(" at ")[1].split()[0]
    refused = cli("runs", "--url", url)
    assert refused.status != 0
    assert "X-API-Key" in refused.err
    monkeypatch.setenv("MILLSTREAM_KEY", key)
    assert cli("runs", "--url", url).status == 0
    assert cli("run", "talk", "--field", "text=a", "--url", url).status == 0


def test_a_removed_key_is_gone(cli, file):
    cli("keys", "add", "laptop", "--file", file)
    twice = cli("keys", "add", "laptop", "--file", file)
    assert (twice.status, twice.out) == (2, "")
    assert "there is a key named 'laptop' already" in twice.err
    assert cli("keys", "remove", "laptop", "--file", file).status == 0
    assert keys.read(file) == []
    gone = cli("keys", "remove", "laptop", "--file", file)
    assert (gone.status, gone.err.count("no key named 'laptop'")) == (2, 1)


@pytest.mark.parametrize("where", ["file", "settings"])
def test_a_key_lets_a_server_listen_beyond_loopback(where, file):
    more = {"api_keys": ("some-key",)} if where == "settings" else {}
    pipeline = Pipeline("echo")
    pipeline.step(name="echo")(lambda text: text)
    app = Millstream(pipeline, settings=Settings(host="0.0.0.0", keys_file=file, **more))
    if where == "file":
        with pytest.raises(SettingsError, match="millstream keys add"):
            check_address(app.settings, asks=app.asks)
        keys.add(file, "laptop", owner=None, now=1.0)
        app = Millstream(pipeline, settings=app.settings)
    check_address(app.settings, asks=app.asks)


def test_a_run_without_a_server_needs_no_key(spawn, file, monkeypatch):
    keys.add(file, "laptop", owner=None, now=1.0)
    monkeypatch.setenv("MILLSTREAM_KEYS_FILE", str(file))
    monkeypatch.setenv("MILLSTREAM_API_KEYS", "some-key")
    said = spawn("run", "talk", "--field", "text=a", "--app", "cli_apps:app").ended()
    assert said.status == 0, said.err
