"""A server that dies after it wrote a record: the next one goes on, and there is one record."""

import json
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx

from millstream_apps.appraise.records import Records
from tests.appraise.conftest import PHONE, body, by_type, lines
from tests.serving_process import start_server, stop_server


def serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A server process and its address."""
    mark = str(folder / "mark")
    return start_server("tests.appraise.served_app:app", folder, APPRAISE_TEST_MARK=mark)


def read(http: httpx.Client, method: str, path: str, **more) -> list[dict]:
    """The packets that came before the connection broke, or all."""
    text = b""
    with suppress(httpx.TransportError), http.stream(method, path, headers=PHONE, **more) as answer:
        for data in answer.iter_raw():
            text += data
    return lines(text.decode().rpartition("\n")[0])


def test_one_record_whenever_the_server_dies(tmp_path, catalogue):
    process, url = serve(tmp_path)
    try:
        with httpx.Client(base_url=url, timeout=30) as http:
            seen = read(http, "POST", "/mobile-upload", json=body())
        process.communicate(timeout=30)
        assert process.returncode == 9
        assert "ANALYSIS_COMPLETE" not in by_type(seen)
        records = Records(catalogue)
        (written,) = records.list()

        process, url = serve(tmp_path)
        with httpx.Client(base_url=url, timeout=30) as http:
            path = f"/mobile-upload/{written.request_id}"
            after = seen[-1]["cursor"] if seen else 0
            rest = read(http, "GET", path, params={"after": after})
            packets = [*seen, *rest]
            assert len(by_type(packets)) == 8, json.dumps(packets)
            assert packets[-1]["id"] == written.id
            again = read(http, "POST", "/mobile-upload", json=body())
            assert again[-1]["id"] == written.id
        assert records.count() == 1
    finally:
        stop_server(process)
