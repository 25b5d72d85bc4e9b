"""The pages as they are sent: what their headers forbid, what production leaves out, and texts in both languages."""

import gzip
import re
from html import unescape
from typing import Any

import msgspec
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from clock.config import Settings
from clock.http.pages import FOLDER, files, page_routes

Client = TestClient[Litestar]


def client(**settings: Any) -> Client:
    return TestClient(Litestar(page_routes(Settings(**settings)), openapi_config=None))


@pytest.fixture
def prod() -> Client:
    return client(env="prod")


def test_the_policy_lets_nothing_in_from_elsewhere(prod: Client) -> None:
    for path in ("/", "/ops", "/web/page.js", "/web/page.css", "/web/icon.svg"):
        reply = prod.get(path)
        assert reply.status_code == 200, path
        policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert {policy[kind] for kind in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
        assert {policy[kind] for kind in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
        assert policy["require-trusted-types-for"] == "'script'"
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"


HOSTS = "https://a.example http://localhost:8443"


def test_named_origins_may_frame_the_players_page_and_nothing_else() -> None:
    with client(origins=HOSTS) as hosted:
        page, others = hosted.get("/"), [hosted.get(path) for path in ("/ops", "/web/page.js")]
    assert f"frame-ancestors {HOSTS};" in page.headers["content-security-policy"]
    assert "x-frame-options" not in page.headers
    for other in others:
        assert "frame-ancestors 'none';" in other.headers["content-security-policy"]
        assert other.headers["x-frame-options"] == "DENY"


def test_wechats_script_is_allowed_only_where_a_mini_program_pays(prod: Client) -> None:
    assert "wx.qq.com" not in prod.get("/").headers["content-security-policy"] + prod.get("/").text
    with client(miniprogram_pay="/pages/pay") as page:
        policy = page.get("/").headers["content-security-policy"]
        text = page.get("/").text
    (source,) = re.findall(r"https://res\.wx\.qq\.com/\S+\.js", policy)
    assert f"script-src {source} 'self';" in policy
    assert f'<template id="wechat"><script src="{source}"></script></template>' in text


def test_types(prod: Client) -> None:
    for path, content_type in (("/", "text/html"), ("/web/page.js", "text/javascript"), ("/web/page.css", "text/css")):
        assert prod.get(path).headers["content-type"] == f"{content_type}; charset=utf-8"
    assert prod.get("/web/icon.svg").headers["content-type"].startswith("image/svg+xml")


def test_a_copy_that_is_still_good_is_not_sent_again(prod: Client) -> None:
    first = prod.get("/web/page.js")
    assert first.headers["cache-control"] == "no-cache"
    again = prod.get("/web/page.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert prod.get("/web/page.js", headers={"if-none-match": 'W/"old"'}).status_code == 200


def test_zipped_for_who_takes_it(prod: Client) -> None:
    plain = prod.get("/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    zipped = prod.get("/", headers={"accept-encoding": "br, gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert zipped.content == plain.content
    file = files(Settings())["/web/page.js"]
    assert gzip.decompress(file.zipped) == file.plain


def test_production_has_no_helpers_of_development(prod: Client) -> None:
    assert "/web/dev.js" not in prod.get("/").text
    assert prod.get("/web/dev.js").status_code != 200
    with client(env="dev") as dev:
        assert '<script type="module" src="/web/dev.js">' in dev.get("/").text
        assert dev.get("/web/dev.js").status_code == 200


def test_only_files_of_the_pages_are_sent(prod: Client) -> None:
    for name in ("index.html", "ops.html", "nothing.js", "..%2fpages.py", "%2e%2e/pages.py"):
        assert prod.get(f"/web/{name}").status_code != 200, name


def test_the_page_has_the_rules_of_new_rounds() -> None:
    with client(stake_fen=250, timezone="Asia/Tokyo") as page:
        found = re.search(r'name="clock-rules" content="([^"]*)"', page.get("/").text)
    assert found
    rules = msgspec.json.decode(unescape(found[1]))
    assert (rules["stake_fen"], rules["timezone"], rules["settle_at"]) == (250, "Asia/Tokyo", "08:05")


@pytest.mark.parametrize(("url", "told"), [("", ""), ("http://127.0.0.1:1/hook", "06:15")])
def test_reminders_are_promised_only_where_they_are_sent(url: str, told: str) -> None:
    with client(reminder_url=url, remind_at="06:15") as page:
        found = re.search(r'name="clock-rules" content="([^"]*)"', page.get("/").text)
    assert found
    assert msgspec.json.decode(unescape(found[1]))["remind_at"] == told


def texts() -> dict[str, dict[str, str]]:
    """Sentences by language and name, as ``texts.js`` has them."""
    source = (FOLDER / "texts.js").read_text("utf-8")
    tables = re.findall(r"const (ZH|EN) = \{(.*?)\n\};", source, re.DOTALL)
    return {language: dict(re.findall(r'(\w+): "([^"]*)"', table)) for language, table in tables}


def test_every_sentence_is_in_both_languages_with_the_same_blanks() -> None:
    chinese, english = texts()["ZH"], texts()["EN"]
    assert chinese.keys() == english.keys()
    for name in chinese:
        assert set(re.findall(r"\{\d\}", chinese[name])) == set(re.findall(r"\{\d\}", english[name])), name


def test_every_sentence_is_used() -> None:
    names = ("page", "today", "lists", "packet", "check", "api", "state", "texts", "dev")
    paths = ("index.html", *(f"{name}.js" for name in names))
    sources = "".join((FOLDER / name).read_text("utf-8") for name in paths)
    kinds = set(re.findall(r'"(\w+)"', (FOLDER / "state.js").read_text("utf-8")))
    made = kinds | {f"{kind}_hint" for kind in kinds} | {name for name in texts()["ZH"] if name.startswith("state_")}
    unused = {name for name in texts()["ZH"] if not re.search(rf'"{name}"', sources)} - made
    assert unused == set()
    asked = set(re.findall(r'\bt\("(\w+)"|data-t(?:-label)?="(\w+)"', sources))
    assert {one or other for one, other in asked} <= texts()["ZH"].keys()
