"""Notifications of payments over HTTP, as each provider sends them; every answer fsynced.

The platform signs with HMAC; WeChat Pay encrypts and signs with RSA; Alipay signs a form with RSA. All are made, by the
doubles of the providers, before the clock starts.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone

import msgspec

from bench.check_in import CONNECTIONS, ratios
from bench.load import Job
from bench.measure import Result, Scale, spread, target
from bench.scene import SETTLED, Cpu, Scene, fire, open_id, staged, transaction
from clock.channels.alipay import Alipay
from clock.channels.wechat import WeChat
from clock.dev.providers.alipay_seal import AlipaySeal
from clock.dev.providers.wechat_seal import WechatSeal
from clock.runtime.dev_keys import AlipayKeys, WechatKeys, new_alipay_keys, new_wechat_keys

BEIJING = timezone(timedelta(hours=8))

ANSWERS = {"platform": "200 paid", "wechat": "204 ", "alipay": "200 success"}

Make = Callable[[Scene, Sequence[str], Sequence[int]], list[bytes]]


async def run(scale: Scale) -> Result:
    users, repetitions = scale.of(12_000, 2_000), scale.of(5, 2)
    wechat = msgspec.json.decode(new_wechat_keys(), type=WechatKeys)
    alipay = msgspec.json.decode(new_alipay_keys(), type=AlipayKeys)
    makes: dict[str, Make] = {
        "platform": lambda scene, numbers, uids: scene.callbacks(numbers, uids),
        "wechat": _WechatNotices(wechat).all,
        "alipay": _AlipayNotices(alipay).all,
    }
    settings = {
        "public_url": "https://game.example.org",
        **dict.fromkeys(("wechat_url", "alipay_url"), "http://127.0.0.1:9"),  # nobody is called
        "wechat_mchid": wechat.mchid,
        "wechat_appid": wechat.appid,
        "wechat_serial": wechat.serial,
        "wechat_private_key": wechat.merchant_private_key,
        "wechat_api_v3_key": wechat.api_v3_key,
        "wechat_keys": f"{wechat.key_id}\n{wechat.provider_public_key}{wechat.old_certificate}",
        "alipay_app_id": alipay.app_id,
        "alipay_seller_id": alipay.seller_id,
        "alipay_private_key": alipay.merchant_private_key,
        "alipay_public_key": alipay.provider_public_key,
    }
    speeds: dict[str, list[float]] = {name: [] for name in ANSWERS}
    costs: dict[str, list[float]] = {name: [] for name in ANSWERS}
    async with staged(**SETTLED, **settings) as scene:
        port = await scene.serve("service")
        for _ in range(repetitions):
            for name, make in makes.items():
                uids = scene.uids(users)
                requests = make(scene, await scene.join(scene.today, uids, name), uids)
                await scene.forget_outbox()
                cpu = Cpu(scene.pids)
                job = Job(port=port, requests=requests, count=users, connections=CONNECTIONS, warm_up=users // 5)
                report = await fire(job)
                assert set(report.codes) == {ANSWERS[name]}, report.codes
                speeds[name].append(report.per_second)
                costs[name].append(1e6 * cpu.used()["service"] / users)
    return Result(
        name="callbacks",
        targets=[
            target(f"notifications of {name}", "the platform's", ratios(speeds[name], speeds["platform"]), ">=", 0.7)
            for name in ("wechat", "alipay")
        ],
        figures={
            **{f"{name}, requests/s": spread(found) for name, found in speeds.items()},
            **{f"{name}, server's CPU µs a request": spread(found) for name, found in costs.items()},
        },
    )


class _WechatNotices:
    """Half of them signed with the key, half with the older certificate."""

    def __init__(self, keys: WechatKeys) -> None:
        self._keys = keys
        self._seal = WechatSeal(keys)

    def all(self, scene: Scene, numbers: Sequence[str], uids: Sequence[int]) -> list[bytes]:
        return [self._one(scene, number, uid) for number, uid in zip(numbers, uids, strict=True)]

    def _one(self, scene: Scene, number: str, uid: int) -> bytes:
        at = datetime.now(BEIJING).isoformat(timespec="seconds")
        paid = {
            "mchid": self._keys.mchid,
            "appid": self._keys.appid,
            "out_trade_no": number,
            "transaction_id": transaction(uid),
            "trade_type": "JSAPI",
            "trade_state": "SUCCESS",
            "bank_type": "OTHERS",
            "success_time": at,
            "payer": {"openid": open_id(uid)},
            "amount": {"total": 100, "payer_total": 100, "currency": "CNY", "payer_currency": "CNY"},
        }
        body = {
            "id": f"EV-{number}",
            "create_time": at,
            "resource_type": "encrypt-resource",
            "event_type": "TRANSACTION.SUCCESS",
            "summary": "支付成功",
            "resource": self._seal.encrypted("transaction", paid),
        }
        raw = msgspec.json.encode(body)
        serial = self._keys.key_id if uid % 2 else self._keys.old_serial
        return scene.post(f"/callbacks/{WeChat.name}", raw, self._seal.sign(raw, serial))


class _AlipayNotices:
    def __init__(self, keys: AlipayKeys) -> None:
        self._keys = keys
        self._seal = AlipaySeal(keys)

    def all(self, scene: Scene, numbers: Sequence[str], uids: Sequence[int]) -> list[bytes]:
        return [self._one(scene, number, uid) for number, uid in zip(numbers, uids, strict=True)]

    def _one(self, scene: Scene, number: str, uid: int) -> bytes:
        at = datetime.fromtimestamp(time.time(), UTC).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")
        said = {
            "notify_id": f"N{number}",
            "notify_time": at,
            "notify_type": "trade_status_sync",
            "app_id": self._keys.app_id,
            "seller_id": self._keys.seller_id,
            "charset": "utf-8",
            "version": "1.0",
            "out_trade_no": number,
            "trade_no": transaction(uid),
            "trade_status": "TRADE_SUCCESS",
            "total_amount": "1.00",
            "buyer_open_id": open_id(uid),
            "gmt_payment": at,
        }
        return scene.post(f"/callbacks/{Alipay.name}", self._seal.notification(said), {})
