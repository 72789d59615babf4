"""Settings: one frozen object, from three places, each name known, each value in its range."""

import pytest
from pydantic import ValidationError

from millstream import Settings, SettingsError
from millstream.cli.serve import check_address
from millstream.system import System
from millstream.wiring import engine_options, make_store, sqlite_path


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """No setting comes from outside the test."""
    import os

    for name in list(os.environ):
        if name.upper().startswith("MILLSTREAM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, text, name="millstream.toml"):
    (folder / name).write_text(text)
    return folder / name


def test_arguments_over_environment_over_file_over_defaults(nowhere, monkeypatch):
    assert Settings.load().port == 8000
    assert Settings.load({"port": 1}).port == 1
    write(nowhere, "port = 2")
    assert Settings.load({"port": 1}).port == 2
    monkeypatch.setenv("MILLSTREAM_PORT", "3")
    assert Settings.load({"port": 1}).port == 3
    assert Settings.load({"port": 1}, port=4).port == 4
    assert Settings.load({"port": 1}, port=None).port == 3, "None is not given"


def test_the_environments_names_are_read_in_any_case(nowhere, monkeypatch):
    write(nowhere, "port = 2")
    monkeypatch.setenv("millstream_port", "3")
    assert Settings.load().port == 3


def test_an_empty_variable_says_nothing(nowhere, monkeypatch):
    write(nowhere, "port = 2")
    monkeypatch.setenv("MILLSTREAM_PORT", "")
    monkeypatch.setenv("MILLSTREAM_CONFIG", "")
    assert Settings.load().port == 2


def test_a_file_elsewhere(nowhere, monkeypatch):
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(write(nowhere, "port = 5", "other.toml")))
    assert Settings.load().port == 5
    monkeypatch.setenv("MILLSTREAM_CONFIG", "missing.toml")
    with pytest.raises(SettingsError, match=r"missing\.toml, which is not there"):
        Settings.load()
    monkeypatch.setenv("MILLSTREAM_CONFIG", str(write(nowhere, "port = ", "bad.toml")))
    with pytest.raises(SettingsError, match=r"bad\.toml is not TOML"):
        Settings.load()


def test_unknown_names_are_refused_wherever_they_stand(nowhere, monkeypatch):
    for make in (Settings, Settings.load):
        with pytest.raises(SettingsError, match="'prot' is unknown; did you mean 'port'"):
            make(prot=1)
    with pytest.raises(SettingsError, match="did you mean 'port'"):
        Settings.load({"prot": 1})
    monkeypatch.setenv("MILLSTREAM_HEARTBAET", "1")
    with pytest.raises(SettingsError, match=r"MILLSTREAM_HEARTBAET.*did you mean 'heartbeat'"):
        Settings.load()
    monkeypatch.delenv("MILLSTREAM_HEARTBAET")
    write(nowhere, "heartbaet = 1")
    with pytest.raises(SettingsError, match=r"millstream\.toml.*did you mean 'heartbeat'"):
        Settings.load()


RANGES = {
    "port": ("-1", "65536", "x"),
    "durability": ("half",),
    "open_to_network": ("perhaps",),
    "max_runs": ("0", "1.5"),
    "threads": ("0",),
    "body_bytes": ("0",),
    "file_bytes": ("0",),
    "json_bytes": ("0",),
    "files": ("0",),
    "heartbeat": ("0", "-1", "nan", "soon"),
    "stall_timeout": ("0", "nan"),
    "drain": ("-1",),
    "lease_ttl": ("0",),
    "keep": ("-1",),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in RANGES.items() for v in vs])
def test_a_value_out_of_range_is_refused_by_name(nowhere, monkeypatch, name, value):
    for load in (Settings, Settings.load):
        with pytest.raises(SettingsError, match=f"^{name}: "):
            load(**{name: value})
    monkeypatch.setenv(f"MILLSTREAM_{name.upper()}", value)
    with pytest.raises(SettingsError, match=f"^{name}: "):
        Settings.load()


def test_origins_are_separated_by_commas_in_the_environment(monkeypatch):
    monkeypatch.setenv("MILLSTREAM_ORIGINS", "https://a.example, https://b.example,")
    assert Settings.load().origins == ("https://a.example", "https://b.example")
    assert Settings(origins=["https://c.example"]).origins == ("https://c.example",)


def test_every_setting_says_what_it_is():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert len(field.description.split()) >= 3, name


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_what_the_engine_is_told():
    options = engine_options(Settings(max_runs=3, threads=4, drain=1, lease_ttl=2, keep=None))
    assert (options.max_runs, options.threads, options.drain) == (3, 4, 1)
    assert (options.lease_ttl, options.keep) == (2, None)


def test_store_urls():
    assert str(sqlite_path("sqlite:///a/b.db")) == "a/b.db"
    assert str(sqlite_path("sqlite:////a/b%20c.db")) == "/a/b c.db"
    for url in ("sqlite://", "sqlite:///", "sqlite://host/x.db", "mysql://x", "nonsense", ""):
        with pytest.raises(SettingsError, match=r"^store: "):
            make_store(Settings(store=url))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_listened_on(host):
    check_address(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "", "localhost.x"])
def test_other_addresses_only_when_told(host):
    with pytest.raises(SettingsError, match="--open-to-network"):
        check_address(Settings(host=host))
    check_address(Settings(host=host, open_to_network=True))


def test_a_system_brings_defaults_of_its_own():
    assert System("s", ()).settings == {}
