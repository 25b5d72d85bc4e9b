"""What WeChat Pay's API v3 takes: unknown fields are an error there, and so is null."""

from typing import Annotated, Literal

import msgspec

Text = Annotated[str, msgspec.Meta(min_length=1)]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A field that is not here makes the request wrong."""


class OrderAmount(Strict, frozen=True):
    total: Annotated[int, msgspec.Meta(ge=1)]
    currency: Literal["CNY"] = "CNY"


class Payer(Strict, frozen=True):
    openid: Text


class H5(Strict, frozen=True):
    type: Text


class Scene(Strict, frozen=True):
    payer_client_ip: Text
    h5_info: H5


class Order(Strict, frozen=True):
    appid: Text
    mchid: Text
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=127)]
    out_trade_no: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_|*-]{6,32}$")]
    notify_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^?]+$", max_length=255)]
    amount: OrderAmount
    time_expire: Text | msgspec.UnsetType = msgspec.UNSET
    payer: Payer | msgspec.UnsetType = msgspec.UNSET
    scene_info: Scene | msgspec.UnsetType = msgspec.UNSET
    attach: Annotated[str, msgspec.Meta(max_length=128)] | msgspec.UnsetType = msgspec.UNSET


class Close(Strict, frozen=True):
    mchid: Text


class RefundAmount(Strict, frozen=True):
    refund: Annotated[int, msgspec.Meta(ge=1)]
    total: Annotated[int, msgspec.Meta(ge=1)]
    currency: Literal["CNY"]


class Refund(Strict, frozen=True):
    out_refund_no: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z_|*@-]{1,64}$")]
    amount: RefundAmount
    transaction_id: Text | msgspec.UnsetType = msgspec.UNSET
    out_trade_no: Text | msgspec.UnsetType = msgspec.UNSET
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=80)] | msgspec.UnsetType = msgspec.UNSET
    notify_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^?]+$")] | msgspec.UnsetType = msgspec.UNSET


class Report(Strict, frozen=True):
    info_type: Annotated[str, msgspec.Meta(min_length=1, max_length=15)]
    info_content: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]


class Transfer(Strict, frozen=True):
    appid: Text
    out_bill_no: Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Za-z]{1,32}$")]
    transfer_scene_id: Text
    openid: Text
    transfer_amount: Annotated[int, msgspec.Meta(ge=1)]
    transfer_remark: Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
    transfer_scene_report_infos: list[Report]
    notify_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^?]+$")] | msgspec.UnsetType = msgspec.UNSET
    user_recv_perception: Literal["活动奖励", "现金奖励"] | msgspec.UnsetType = msgspec.UNSET
    user_name: Text | msgspec.UnsetType = msgspec.UNSET
