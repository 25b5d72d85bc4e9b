"""Whoever asks the doubles: requests signed here, by nothing that the channels share with it but RSA."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec

from clock.channels import rsa
from clock.dev.providers.books import beijing
from clock.runtime.directory import alipay_keys, wechat_keys
from tests.conftest import at

ORDERS = "/v3/pay/transactions/jsapi"


class Merchant:
    """Requests to the double of WeChat Pay, signed here."""

    def __init__(self, session: aiohttp.ClientSession, url: str, keys: Path, notify_url: str) -> None:
        self.session, self.url, self.notify_url = session, url, notify_url
        self.keys = wechat_keys(keys)
        self._private = rsa.private_key(self.keys.merchant_private_key, "key")

    def order(self, number: str, **changes: Any) -> dict[str, Any]:
        body = {"appid": self.keys.appid, "mchid": self.keys.mchid, "description": "早起", "out_trade_no": number}
        body |= {"notify_url": self.notify_url, "time_expire": "2026-11-23T00:00:00+08:00"}
        return body | {"amount": {"total": 100, "currency": "CNY"}, "payer": {"openid": "open-1"}} | changes

    def authorization(self, method: str, path: str, raw: bytes, at_s: int) -> str:
        signed = rsa.sign(self._private, f"{method}\n{path}\n{at_s}\nN\n".encode() + raw + b"\n")
        named = f'mchid="{self.keys.mchid}",nonce_str="N",timestamp="{at_s}",serial_no="{self.keys.serial}"'
        return f'WECHATPAY2-SHA256-RSA2048 {named},signature="{signed}"'

    async def asks(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        sent: bytes | None = None,
        old_s: int = 0,
        signed: bool = True,
    ) -> tuple[int, dict[str, Any]]:
        raw = b"" if body is None else msgspec.json.encode(body)
        authorization = self.authorization(method, path, raw, int(time.time()) - old_s)
        headers = {"Authorization": authorization} if signed else {}
        headers["Wechatpay-Serial"] = self.keys.key_id
        async with self.session.request(method, self.url + path, data=sent or raw, headers=headers) as reply:
            text = await reply.read()
            key = rsa.public_key(self.keys.provider_public_key, "key")
            stamp = [reply.headers[f"Wechatpay-{name}"] for name in ("Timestamp", "Nonce")]
            said = "".join(f"{one}\n" for one in stamp).encode() + text + b"\n"
            assert rsa.verifies(key, reply.headers["Wechatpay-Signature"], said)
            return reply.status, msgspec.json.decode(text or b"{}")

    async def pays(self, number: str, **changes: Any) -> int:
        body = {"order_no": number, "amount": 100, "buyerId": "open-1", "at_ms": at("20:00"), **changes}
        async with self.session.post(f"{self.url}/pay", json=body) as reply:
            return reply.status


class AlipayMerchant:
    """Requests to the double of Alipay's gateway."""

    def __init__(self, session: aiohttp.ClientSession, url: str, keys: Path, notify_url: str) -> None:
        self.session, self.url, self.notify_url = session, url, notify_url
        self.keys = alipay_keys(keys)
        self._private = rsa.private_key(self.keys.merchant_private_key, "key")

    def form(self, method: str, content: dict[str, Any], **changes: str) -> dict[str, str]:
        said = {"app_id": self.keys.app_id, "method": method, "charset": "utf-8", "sign_type": "RSA2"}
        said |= {"timestamp": beijing(int(time.time() * 1000)), "version": "1.0", "notify_url": self.notify_url}
        said |= {"biz_content": msgspec.json.encode(content).decode()} | changes
        text = "&".join(f"{name}={value}" for name, value in sorted(said.items()))
        return said | {"sign": rsa.sign(self._private, text.encode())}

    async def sends(self, form: dict[str, str]) -> tuple[dict[str, Any], bool]:
        """The reply, and whether it is signed: over the bytes between the method's name and the signature."""
        async with self.session.post(f"{self.url}/gateway.do", data=form) as reply:
            raw = await reply.read()
        said = msgspec.json.decode(raw)
        (name,) = said.keys() - {"sign"}
        if "sign" not in said:
            return said[name], False
        begin = len(f'{{"{name}":')
        signed = raw[begin : raw.rindex(b',"sign":')]
        assert rsa.verifies(rsa.public_key(self.keys.provider_public_key, "key"), said["sign"], signed)
        return said[name], True

    async def asks(self, method: str, **content: Any) -> dict[str, Any]:
        reply, signed = await self.sends(self.form(method, content))
        assert signed
        return reply

    async def orders(self, number: str, **changes: Any) -> dict[str, Any]:
        content = {"out_trade_no": number, "total_amount": "1.00", "subject": "早起", "buyer_open_id": "open-1"}
        content |= {"op_app_id": self.keys.app_id, "product_code": "JSAPI_PAY", "time_expire": "2026-11-23 00:00:00"}
        return await self.asks("alipay.trade.create", **content | changes)

    def link(self, number: str) -> str:
        content = {"out_trade_no": number, "total_amount": "1.00", "subject": "早起", "product_code": "QUICK_WAP_WAY"}
        content |= {"time_expire": "2026-11-23 00:00:00"}
        return f"{self.url}/gateway.do?{urlencode(self.form('alipay.trade.wap.pay', content))}"

    async def pays(self, number: str, **changes: Any) -> int:
        body = {"order_no": number, "amount": 100, "buyerId": "open-1", "at_ms": at("20:00"), **changes}
        async with self.session.post(f"{self.url}/pay", json=body) as reply:
            return reply.status


async def trouble(merchant: Merchant | AlipayMerchant, **knobs: Any) -> None:
    async with merchant.session.put(f"{merchant.url}/trouble", json=knobs) as reply:
        assert reply.status == 200, await reply.text()
