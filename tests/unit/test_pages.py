"""The pages as they are sent: what their headers forbid, what production leaves out, and texts in both languages."""

import base64
import gzip
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from clock.config import Settings
from clock.http.pages import document, files, page_routes
from clock.http.web.linker import FOLDER, linked, needed

Client = TestClient[Litestar]


def client(**settings: Any) -> Client:
    return TestClient(Litestar(page_routes(Settings(**settings)), openapi_config=None))


@pytest.fixture
def prod() -> Client:
    return client(env="prod")


def policy_of(page: Client, path: str) -> dict[str, str]:
    reply = page.get(path)
    assert reply.status_code == 200, path
    return dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))


def test_the_policy_lets_nothing_in_from_elsewhere(prod: Client) -> None:
    for path in ("/", "/ops", "/web/ops.js", "/web/page.css", "/web/icon.svg"):
        policy = policy_of(prod, path)
        assert policy["default-src"] == "'none'"
        assert {policy[kind] for kind in ("img-src", "connect-src")} == {"'self'"}
        if path != "/":
            assert {policy[kind] for kind in ("script-src", "style-src")} == {"'self'"}
        assert {policy[kind] for kind in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
        assert policy["require-trusted-types-for"] == "'script'"
        headers = prod.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_players_page_runs_its_own_scripts_and_styles_alone(prod: Client) -> None:
    """Each is in the document, and named by its hash; nothing else is loaded."""
    policy, text = policy_of(prod, "/"), prod.get("/").text
    for kind, tag in (("script-src", "script"), ("style-src", "style")):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in inside]
        assert policy[kind].split() == [f"'sha256-{digest}'" for digest in digests]
    assert re.findall(r'(?:src|href)="([^#"][^"]*)"', text) == ["/web/icon.svg"]


def test_the_question_for_the_summary_is_at_the_beginning_of_the_document(prod: Client) -> None:
    """It is on its way when a hundredth of the page has arrived on a line of 50 kB/s."""
    text = prod.get("/").text
    assert len(gzip.compress(text[: text.index("first.early = {")].encode())) < 3_000


def test_the_page_knows_no_rules_of_the_process() -> None:
    other = Settings(env="prod", stake_fen=250, timezone="Asia/Tokyo", check_in_opens="04:00")
    assert document(other) == document(Settings(env="prod"))


def test_a_document_has_a_version_of_its_own() -> None:
    prod, dev = document(Settings(env="prod")), document(Settings(env="dev"))
    assert f'data-page="{prod.version}"' in prod.html
    assert prod.version != dev.version
    assert "{{" not in prod.html


HOSTS = "https://a.example http://localhost:8443"


def test_named_origins_may_frame_the_players_page_and_nothing_else() -> None:
    with client(origins=HOSTS) as hosted:
        page, others = hosted.get("/"), [hosted.get(path) for path in ("/ops", "/web/ops.js")]
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
    assert f"script-src {source} 'sha256-" in policy
    assert f'<template id="wechat"><script src="{source}"></script></template>' in text


def test_types(prod: Client) -> None:
    for path, content_type in (("/", "text/html"), ("/web/ops.js", "text/javascript"), ("/web/page.css", "text/css")):
        assert prod.get(path).headers["content-type"] == f"{content_type}; charset=utf-8"
    assert prod.get("/web/icon.svg").headers["content-type"].startswith("image/svg+xml")


def test_a_copy_that_is_still_good_is_not_sent_again(prod: Client) -> None:
    first = prod.get("/web/ops.js")
    assert first.headers["cache-control"] == "no-cache"
    again = prod.get("/web/ops.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert prod.get("/web/ops.js", headers={"if-none-match": 'W/"old"'}).status_code == 200


def test_the_players_page_is_kept_for_a_week_by_browsers_and_for_a_minute_in_between(prod: Client) -> None:
    reply = prod.get("/")
    assert reply.headers["cache-control"] == "public, max-age=604800, s-maxage=60"
    again = prod.get("/", headers={"if-none-match": reply.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, reply.headers["cache-control"])


def test_zipped_for_who_takes_it(prod: Client) -> None:
    plain = prod.get("/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    zipped = prod.get("/", headers={"accept-encoding": "br, gzip"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert zipped.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert zipped.content == plain.content
    file = files(Settings())["/web/ops.js"]
    assert gzip.decompress(file.zipped) == file.plain


def test_production_has_no_helpers_of_development(prod: Client) -> None:
    assert "/dev/token" not in prod.get("/").text
    with client(env="dev") as dev:
        assert "/dev/token" in dev.get("/").text


def test_only_files_of_the_pages_are_sent(prod: Client) -> None:
    for name in (
        "index.html",
        "ops.html",
        "page.js",
        "dev.js",
        "nothing.js",
        "linker.py",
        "..%2fpages.py",
        "%2e%2e/pages.py",
    ):
        assert prod.get(f"/web/{name}").status_code != 200, name


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('import x from "/web/b.js";', "'import'"),
        ('import { y } from "/web/b.js";', "b.js has no y"),
        ('import { x } from "https://elsewhere/b.js";', "'import'"),
        ('const later = () => import("/web/b.js");', "'import('"),
        ("export let x = 1;", "'export'"),
        ("export default 1;", "'export'"),
        ('const text = "</script>";', "'</script'"),
        ('import { x } from "/web/a.js";', "a.js → a.js"),
    ],
)
def test_a_module_that_cannot_be_joined_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "b.js").write_text("export const x = 1;\n")
    (tmp_path / "a.js").write_text(f'import {{ x }} from "/web/b.js";\n{text}\n')
    with pytest.raises(ValueError, match=re.escape(wrong)):
        linked("a.js", folder=tmp_path)


def test_every_module_is_joined_once_and_after_what_it_needs() -> None:
    order = needed("page.js", "dev.js")
    assert order.index("kept.js") < order.index("texts.js") < order.index("api.js") < order.index("page.js")
    assert len(order) == len(set(order))
    script = linked("page.js", "dev.js")
    assert all(script.count(f"const {name.removesuffix('.js')}$ = (") == 1 for name in order)


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
    paths = ("index.html", *needed("page.js", "dev.js"))
    sources = "".join((FOLDER / name).read_text("utf-8") for name in paths)
    kinds = set(re.findall(r'"(\w+)"', (FOLDER / "state.js").read_text("utf-8")))
    made = kinds | {f"{kind}_hint" for kind in kinds}
    made |= {name for name in texts()["ZH"] if name.startswith("state_") or name.endswith(("_push", "_pull"))}
    unused = {name for name in texts()["ZH"] if not re.search(rf'"{name}"', sources)} - made
    assert unused == set()
    asked = set(re.findall(r'\bt\("(\w+)"|data-t(?:-label)?="(\w+)"', sources))
    assert {one or other for one, other in asked} <= texts()["ZH"].keys()
