"""Marks of documents: what of them is somebody's goes, and addresses of pages lead where they led."""

import pytest

from jaxlm.corpus.pii import KINDS
from jaxlm.corpus.pii_marks import scrub_marks

PLAIN = [  # with what would be a card, a phone, an account, a social security number or a version elsewhere
    "https://news.org/article/4111111111111111", "https://x.org/2026/11/29/123-45-6789.html", "http://x.org/602-272-9781",
    "https://x.org/?phone=0490754081&id=+447700677662", "https://x.org/call/001-253-366-9781",
    "https://x.org/GB82WEST12345698765432", "https://x.org/jquery/1.22.33.44/min.js", "https://x.org/v12.34.56.78",
    "https://medium.com/@jo.smith/a-story-5555555555554444", "https://maps.org/@51.5073509,-0.1277583,15z",
    "https://unpkg.com/react@18.2.0/umd/react.js", "https://x.org/icon@2x.png", "https://x.org/?to=jo%40example.com",
    "https://x.org/9d377b9a-3a5a-4b8c-8a3f-602272978112", "//x.org/search?q=%E7%94%B5%E8%AF%9D+13800138000",
]  # fmt: skip
PERSONAL = [
    ("https://x.org/?email=jo.smith@mail.org&id=378282246310005", "https://x.org/?email=<EMAIL>&id=378282246310005"),
    ("https://x.org/u/jo.smith%40mail.org", "https://x.org/u/<EMAIL>"),
    ("https://x.org/?a=1%40&to=jo@mail.org", "https://x.org/?a=1@&to=<EMAIL>"),
    ("https://jo:secret@mail.org/in", "https://jo:<EMAIL>/in"),
    ("https://mastodon.social/@jo@mail.org", "https://mastodon.social/@<EMAIL>"),
    ("https://x.org/?key=AKIAIOSFODNN7QWERTYU", "https://x.org/?key=<KEY>"),
    ("https://hooks.slack.com/services/T0123456789/B0123456789/aBcD3fghijKlmnop9rstuVwx", "https://<KEY>"),
    ("https://x.org/?ip=41.173.96.26", "https://x.org/?ip=<IP>"),
]  # fmt: skip
DATES = [
    "2026-11-29T12:30:45Z",
    "20261129123045",
    "29.11.2026 12:30",
    "Sun, 29 Nov 2026 12:30:45 +0000",
    "1795955445000",
]


@pytest.mark.parametrize("url", PLAIN)
def test_an_address_of_a_page_stays_whatever_numbers_it_has(url):
    assert scrub_marks({"url": url, "licence": url}, KINDS)["url"] == url


@pytest.mark.parametrize("url, shown", PERSONAL)
def test_of_an_address_what_is_somebodys_goes_and_the_rest_stays(url, shown):
    assert scrub_marks({"url": url}, KINDS) == {"url": shown}
    assert scrub_marks({"licence": url}, KINDS, "drop") == {"licence": None}
    assert scrub_marks({"url": url}, ["phone"]) == {"url": url}


@pytest.mark.parametrize("date", DATES)
def test_a_date_is_nobodys(date):
    assert scrub_marks({"date": date}, KINDS) == {"date": date}


def test_other_marks_are_searched_as_a_text_is_and_what_is_no_mark_of_it_stays():
    marks = {"title": "Call 602-272-9781", "licence": "by jo@mail.org", "url": None, "offset": 4111111111111111}
    assert scrub_marks(marks, KINDS) == {**marks, "title": "Call <PHONE>", "licence": "by <EMAIL>"}
    assert scrub_marks(marks, KINDS, "fake", "salt")["licence"].startswith("by user-")
