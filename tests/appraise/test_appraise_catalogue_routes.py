"""The catalogue over HTTP: what goes in comes out, and what is wrong is named."""

import json
from io import BytesIO

import pytest
from PIL import Image

from tests.appraise.conftest import PRICES
from tests.appraise.drawn import drawn_pin


def form(number: int, **fields):
    """A pin as a form."""
    return {
        "data": {"name": f"Pin {number}", **fields},
        "files": {"front_image": ("front.png", drawn_pin(number), "image/png")},
    }


async def test_list_get_and_photo(open_server):
    async with open_server() as served:
        found = (await served.http.get("/api/catalogue")).json()
        assert (found["success"], found["count"], found["total"]) == (True, 1, 1)
        assert found["references"][0]["name"] == "Star of the <North>"
        one = (await served.http.get("/api/catalogue/star")).json()["reference"]
        assert [sale["price"] for sale in one["sales"]] == list(PRICES)
        photo = await served.http.get("/api/catalogue/star/photos/front")
        assert photo.headers["content-type"] == "image/webp"
        assert max(Image.open(BytesIO(photo.content)).size) <= 256


async def test_add_sell_and_remove(open_server):
    async with open_server() as served:
        sales = json.dumps([{"price": "5.00", "currency": "EUR", "date": "2026-01-02"}])
        sent = form(3, id="p3", characters="Ada, Bruno", series="Birds", sales=sales)
        made = await served.http.post("/api/catalogue", **sent)
        assert made.status_code == 201, made.text
        reference = made.json()["reference"]
        assert (reference["id"], reference["characters"]) == ("p3", ["Ada", "Bruno"])
        assert reference["sales"][0]["price"] == "5.00"

        twice = await served.http.post("/api/catalogue", **sent)
        assert twice.status_code == 400
        assert "p3" in twice.json()["error"]
        replaced = await served.http.post("/api/catalogue?replace=true", **sent)
        assert replaced.status_code == 201

        more = [{"price": "7.50", "currency": "EUR", "date": "2026-02-02", "source": "fair"}]
        sold = (await served.http.post("/api/catalogue/p3/sales", json=more)).json()
        assert "7.50" in [sale["price"] for sale in sold["reference"]["sales"]]

        assert (await served.http.delete("/api/catalogue/p3")).json()["removed"] == "p3"
        assert (await served.http.get("/api/catalogue/p3")).status_code == 404


async def test_what_is_wrong_is_named(open_server):
    async with open_server() as served:
        no_picture = {
            "data": {"name": "x"},
            "files": {"front_image": ("a.png", b"no", "image/png")},
        }
        cases = [
            (await served.http.post("/api/catalogue", json={}), 400, "multipart"),
            (await served.http.post("/api/catalogue", **no_picture), 400, "front"),
            (await served.http.post("/api/catalogue", **form(4, colour="red")), 400, "colour"),
            (await served.http.post("/api/catalogue", **form(4, sales="[{}]")), 400, "sales"),
            (await served.http.get("/api/catalogue/nobody"), 404, "nobody"),
            (await served.http.delete("/api/catalogue/nobody"), 404, "nobody"),
            (await served.http.post("/api/catalogue/star/sales", content=b"x"), 400, "sales"),
        ]
        for answer, status, said in cases:
            assert (answer.status_code, answer.json()["success"]) == (status, False), answer.text
            assert said in answer.json()["error"]
        assert (await served.http.get("/api/catalogue")).json()["total"] == 1


@pytest.mark.parametrize("kind", ["csv", "json"])
async def test_import_a_list_with_its_photos(open_server, kind):
    rows = [{"id": f"p{n}", "name": f"Pin {n}", "front": f"pin-{n}.png"} for n in (5, 6)]
    rows.append({"id": "gone", "name": "Gone", "front": "missing.png"})
    if kind == "json":
        listed = json.dumps(rows)
    else:
        listed = "id,name,front\n" + "".join(f"{r['id']},{r['name']},{r['front']}\n" for r in rows)
    photos = [("photos", (f"pin-{n}.png", drawn_pin(n), "image/png")) for n in (5, 6)]
    files = [("file", (f"list.{kind}", listed.encode(), "text/plain")), *photos]
    async with open_server() as served:
        done = (await served.http.post("/api/catalogue/import", files=files)).json()
        assert (done["success"], done["added"]) == (False, 2)
        assert len(done["problems"]) == 1
        assert "missing.png" in done["problems"][0]
        assert (await served.http.get("/api/catalogue")).json()["total"] == 3


async def test_an_import_reads_no_file_of_the_server(open_server, tmp_path):
    """A list may name only photos that came with it."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(drawn_pin(7))
    for place in (str(secret), f"../../../..{secret}", "../list.json"):
        listed = json.dumps([{"id": "stolen", "name": "Stolen", "front": place}]).encode()
        files = [("file", ("list.json", listed, "application/json"))]
        async with open_server() as served:
            done = (await served.http.post("/api/catalogue/import", files=files)).json()
            assert (done["success"], done.get("added", 0)) == (False, 0), place
            assert (await served.http.get("/api/catalogue/stolen")).status_code == 404
