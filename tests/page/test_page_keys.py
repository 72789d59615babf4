"""The built-in page before a server that asks for a key."""

import json
from pathlib import Path

import pytest

from tests.page.browser import Browser, Page
from tests.page.conftest import PIPELINES, serving
from tests.page.test_page_runs import choose, state, whole

KEY = "page-key-0123456789"


def answering(page: Page, *answers: str) -> None:
    """What a person types when the page asks, one after the other; then nothing more."""
    script = f"""
        globalThis.asked = 0;
        const answers = {json.dumps(answers)};
        globalThis.prompt = () => answers[globalThis.asked++] ?? null;"""
    page.call("Page.addScriptToEvaluateOnNewDocument", source=script)
    page.expected.append("401")  # which the browser itself notes


def test_the_page_asks_for_a_key_and_works_with_it(
    page: Page, chromium: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLSTREAM_API_KEYS", f"ann:{KEY}")
    with serving(PIPELINES, tmp_path) as server:
        answering(page, "wrong", KEY)
        page.go(server.url)
        page.wait("document.querySelector('form:not([hidden])')")
        assert page.evaluate("globalThis.asked") == 2
        server.let("words")
        choose(page, "words", "one three five")
        page.click("form:not([hidden]) .primary")
        page.wait("document.querySelector('.result .scalar')?.textContent === '12'")
        state(page, "completed")
        assert whole(page)["types"][0] == "run.queued"
        assert KEY not in "".join(page.requests)
