"""Settings that are refused at the start, each with a sentence that names the setting and shows no key."""

from typing import Any

import pytest

from clock.channels.wechat.keys import verifying_keys
from clock.channels.wechat.settings import REQUIRED, merchant_of
from clock.config import BadSetting, load
from clock.service import channels_of
from tests.unit.wechat.stage import (
    CERTIFICATE_ID,
    MCHID,
    PUBLIC_KEY_ID,
    Waits,
    certificate_pem,
    key,
    keys_text,
    private_pem,
    public_pem,
    settings,
)

OTHER_ID = "PUB_KEY_ID_0119000012342026112700998877665544"

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    **{f"no {name}": ({name: ""}, f"CLOCK_{name.upper()} is required") for name in REQUIRED},
    "a merchant's number with letters": ({"wechat_mchid": "19000x1234"}, "CLOCK_WECHAT_MCHID='19000x1234'"),
    "a short merchant's number": ({"wechat_mchid": "1900"}, "CLOCK_WECHAT_MCHID"),
    "other digits": ({"wechat_mchid": "١٩٠٠٠٠١٢٣٤"}, "CLOCK_WECHAT_MCHID"),
    "an application's id that is none": ({"wechat_appid": "2021001234567890"}, "CLOCK_WECHAT_APPID"),
    "an application's id that is cut": ({"wechat_appid": "wx0123456789abcde"}, "CLOCK_WECHAT_APPID"),
    "a serial number that is none": ({"wechat_serial": "PUB_KEY_ID_1"}, "CLOCK_WECHAT_SERIAL"),
    "a serial number with colons": ({"wechat_serial": "51:57:F0:9E:FD:C0"}, "CLOCK_WECHAT_SERIAL"),
    "a scene that is none": ({"wechat_scene": "现金营销"}, "CLOCK_WECHAT_SCENE"),
    "a short key of encryption": ({"wechat_api_v3_key": "x" * 31}, "CLOCK_WECHAT_API_V3_KEY has 31 bytes"),
    "a key of encryption of 32 characters": ({"wechat_api_v3_key": "ä" * 32}, "CLOCK_WECHAT_API_V3_KEY has 64 bytes"),
    "a transfer below the minimum": ({"wechat_most_fen": 9}, "CLOCK_WECHAT_MOST_FEN"),
    "a transfer that needs a name": ({"wechat_most_fen": 200_000}, "CLOCK_WECHAT_MOST_FEN"),
    "an address without TLS": ({"env": "prod", "public_url": "http://game.example.org"}, "CLOCK_PUBLIC_URL"),
    "a private key that is public": ({"wechat_private_key": public_pem("merchant")}, "CLOCK_WECHAT_PRIVATE_KEY"),
    "a private key that is cut": ({"wechat_private_key": private_pem("merchant")[:-40]}, "CLOCK_WECHAT_PRIVATE_KEY"),
    "no text but a file's name": ({"wechat_private_key": "apiclient_key.pem"}, "CLOCK_WECHAT_PRIVATE_KEY"),
    "our own public key": ({"wechat_keys": f"{PUBLIC_KEY_ID}\n{public_pem('merchant')}"}, "CLOCK_WECHAT_KEYS"),
    "our own among others": (
        {"wechat_keys": f"{keys_text()}\n{OTHER_ID}\n{public_pem('merchant')}"},
        f"CLOCK_WECHAT_KEYS: {OTHER_ID} is the key of CLOCK_WECHAT_PRIVATE_KEY",
    ),
    "a public key without an id": (
        {"wechat_keys": public_pem("public")},
        "CLOCK_WECHAT_KEYS: a public key needs its id",
    ),
    "a certificate with an id": (
        {"wechat_keys": f"{PUBLIC_KEY_ID}\n{certificate_pem()}"},
        "CLOCK_WECHAT_KEYS: a certificate's id is its serial number",
    ),
    "an id twice": (
        {"wechat_keys": f"{keys_text()}\n{PUBLIC_KEY_ID}\n{public_pem('stranger')}"},
        f"CLOCK_WECHAT_KEYS has {PUBLIC_KEY_ID} twice",
    ),
    "an id without a key": ({"wechat_keys": f"{keys_text()}\n{OTHER_ID}"}, "CLOCK_WECHAT_KEYS must be"),
    "something else among the keys": ({"wechat_keys": f"{keys_text()}\n# old"}, "CLOCK_WECHAT_KEYS must be"),
    "a private key among the keys": ({"wechat_keys": keys_text() + private_pem("public")}, "CLOCK_WECHAT_KEYS must be"),
    "a damaged key": (
        {"wechat_keys": f"{PUBLIC_KEY_ID}\n{public_pem('public').replace('MIIB', 'AAAA')}"},
        "CLOCK_WECHAT_KEYS is not a public key",
    ),
    "a report without its second part": (
        {"wechat_report": "活动名称=早起打卡"},
        "CLOCK_WECHAT_REPORT: the scene 1000 wants 奖励说明",
    ),
    "no report": ({"wechat_report": ""}, "wants 活动名称 and 奖励说明"),
    "a report's long content": ({"wechat_report": f"活动名称={'早' * 33};奖励说明=红包"}, "CLOCK_WECHAT_REPORT"),
    "a report's long type": ({"wechat_report": f"{'早' * 16}=1;活动名称=早;奖励说明=红包"}, "CLOCK_WECHAT_REPORT"),
    "a report without contents": ({"wechat_report": "活动名称=;奖励说明=红包"}, "CLOCK_WECHAT_REPORT"),
    "a report of another form": ({"wechat_report": "活动名称：早起"}, "CLOCK_WECHAT_REPORT"),
    "a report that says it twice": ({"wechat_report": "活动名称=a;活动名称=b;奖励说明=c"}, "has a type twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    changed, sentence = REFUSED[name]
    with pytest.raises(BadSetting) as refused:
        merchant_of(settings(**changed))
    assert sentence in str(refused.value)
    for secret in (private_pem("merchant")[60:90], settings(**changed).wechat_api_v3_key):
        assert not secret or secret not in str(refused.value)


TAKEN: dict[str, dict[str, Any]] = {
    "as they are": {},
    "in production": {"env": "prod"},
    "in development without TLS": {"public_url": "http://127.0.0.1:8080"},
    "another scene without its report": {"wechat_scene": "1005", "wechat_report": "岗位类型=教练"},
    "spaces in the report": {"wechat_report": " 活动名称 = 早起 ; 奖励说明 = 红包 ; "},
    "the largest transfer": {"wechat_most_fen": 199_999},
    "keys with empty lines and Windows' ends": {"wechat_keys": keys_text().replace("\n", "\r\n") + "\r\n\r\n"},
}


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name: str) -> None:
    made = merchant_of(settings(**TAKEN[name]))
    assert made.public_key_id == PUBLIC_KEY_ID and set(made.keys) == {PUBLIC_KEY_ID, CERTIFICATE_ID}
    assert made.notify_url.endswith("/callbacks/wechat") and "?" not in made.notify_url


def test_the_order_of_the_keys_is_the_settings() -> None:
    several = f"{certificate_pem()}\n{OTHER_ID}\n{public_pem('stranger')}\n{keys_text().replace(certificate_pem(), '')}"
    assert list(verifying_keys(several)) == [CERTIFICATE_ID, OTHER_ID, PUBLIC_KEY_ID]
    assert merchant_of(settings(wechat_keys=several)).public_key_id == OTHER_ID
    found = verifying_keys(several)[CERTIFICATE_ID].public_numbers()
    assert found == key("certificate").public_key().public_numbers()


def test_a_merchants_number_makes_the_channel_and_its_absence_does_not() -> None:
    assert "wechat" not in channels_of(settings(wechat_mchid="", wechat_keys="nonsense"), Waits())
    made = channels_of(settings(channel="wechat"), Waits())
    assert made["wechat"].name == "wechat"
    with pytest.raises(BadSetting, match="CLOCK_CHANNEL=wechat"):
        channels_of(settings(wechat_mchid="", channel="wechat"), Waits())


def test_the_environment_takes_them_as_they_come_from_files() -> None:
    given = settings()
    names = [name for name in given.__struct_fields__ if name.startswith("wechat_") and getattr(given, name)]
    environ = {f"CLOCK_{name.upper()}": str(getattr(given, name)) for name in [*names, "public_url"]}
    assert merchant_of(load(environ)).mchid == MCHID
