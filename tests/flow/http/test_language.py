"""Messages are in Chinese, or in English for those who ask for it."""

from tests.conftest import Api, at
from tests.flow.http.stage import ME, ask, json

LANGUAGES = {
    "": "zh",
    "zh-CN,zh;q=0.9": "zh",
    "en": "en",
    "en-GB,en;q=0.9,zh;q=0.8": "en",
    "fr, en;q=0.5": "en",
    "zh, en;q=0.9": "zh",
    "en;q=0.5, zh;q=0.9": "zh",
    "en;q=0": "zh",
    "fr-FR, *;q=0.1": "zh",
    ";;q=,en;q=x": "zh",
}
"""What a client accepts, and what it is answered in."""


async def test_people_are_spoken_to_in_chinese_or_in_english_if_they_ask(api: Api) -> None:
    api.service.time.stop_at(at("06:00", 1))
    for accept, language in LANGUAGES.items():
        headers = {"accept-language": accept} if accept else {}
        said = {"zh": "您没有参加本轮打卡", "en": "You have not joined this round"}
        reply = await ask(api, "POST", "/api/check-in", json({"uid": ME}), **headers, **api.token(ME))
        assert (reply.code, reply.body["message"]) == ("not_joined", said[language]), accept
        said = {"zh": "没有这个地址", "en": "No such path"}
        assert (await ask(api, "GET", "/nothing", **headers)).body["message"] == said[language], accept
        said = {"zh": "请先登录", "en": "A valid token is required"}
        reply = await ask(api, "POST", "/api/claim", b"{}", **headers)
        assert reply.body["message"].startswith(said[language]), accept
