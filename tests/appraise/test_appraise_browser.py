"""The appraisal on the built-in page, in a real browser: a photo goes in, the cards fill."""

from pathlib import Path

from tests.appraise.eyes import picture
from tests.page.browser import Page
from tests.page.conftest import chromium, page, serving  # noqa: F401 - fixtures

FORM = "form:not([hidden])"


def test_a_photo_becomes_cards_and_a_page(
    page: Page,  # noqa: F811
    tmp_path: Path,
    catalogue: str,
) -> None:
    photo = tmp_path / "pin.jpg"
    photo.write_bytes(picture(size=(200, 150)))
    with serving("tests.appraise.served_app:app", tmp_path) as server:
        page.go(server.url)
        page.wait(f"globalThis.millstream && document.querySelector('{FORM}')")
        assert page.evaluate(f"document.querySelectorAll('{FORM} .title .muted').length") == 3
        page.give_files(f"{FORM} input[type=file]", [photo])
        page.wait(f"document.querySelector('{FORM} .thumbs li')")
        page.click(f"{FORM} .primary")
        page.wait("document.querySelector('.run')?.dataset.state === 'completed'")
        page.wait("document.querySelectorAll('.pin-card[data-state=done]').length === 4")
        verdict = page.text(".pin-verdict")
        assert "Authentic" in verdict
        assert "rating 91.5 of 100, confidence 93 %" in verdict
        assert "Ada, Bruno & Cleo" in page.text(".pin-details")
        assert "21.00 USD" in page.text(".pin-pricing")
        assert page.evaluate("document.querySelectorAll('.pin-chart circle').length") == 5
        assert "It is" not in page.text(".pin-verdict")
        page.wait(
            "[...document.querySelectorAll('.pin-pictures img')].every((i) => i.naturalWidth)"
        )
        link = page.evaluate("document.querySelector('.pin-pages a').href")
        page.go(link)
        page.wait_outside("document.querySelector('h1')?.textContent === 'Star of the <North>'")
        page.wait_outside("document.images.length === 2 && document.images[0].naturalWidth > 0")
        assert page.hosts() == {"127.0.0.1"}
