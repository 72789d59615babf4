"""`/crawl/site` over real HTTP: a site's pages become documents as they are found."""

import httpx

from tests.extract.local_site import LocalSite
from tests.extract.streams import lines, of


def test_a_site_page_by_page(http: httpx.Client, site: LocalSite) -> None:
    body = {"url": f"{site.url}/tree/1", "depth": 2, "max_pages": 50, "include": ["/tree/*"]}
    answer = http.post("/crawl/site", json=body)
    found = lines(answer.text)
    assert (found[0]["event"], found[0]["stream_type"]) == ("metadata", "site")
    results = of("result", found)
    paths = {line["result"]["url"].removeprefix(site.url) for line in results}
    assert paths == {f"/tree/{n}" for n in range(1, 8)}
    assert all(line["result"]["document"]["word_count"] > 100 for line in results)
    assert sorted(line["index"] for line in results) == list(range(7))
    assert (found[-1]["total_urls"], found[-1]["successful"]) == (7, 7)
    run = answer.headers["x-request-id"]
    again = lines(http.get(f"/crawl/site/{run}").text)
    assert again == found


def test_a_start_inside_the_network_is_refused(http: httpx.Client) -> None:
    answer = http.post("/crawl/site", json={"url": "http://10.1.2.3/"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_url"
