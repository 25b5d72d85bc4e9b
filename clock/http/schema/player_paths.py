"""The paths of players, of anybody, and of payment providers."""

from clock.http.schema import players, rounds
from clock.http.schema.path import Path, Says

_UNKNOWN_ROUND = Says(("round_not_found",))

PLAYERS = {
    ("POST", "/api/summary"): Path(
        "summary",
        "players",
        "The home page as the user sees it",
        (Says(("ok",), players.Summary),),
        "`extra` is kept as the user's profile.",
    ),
    ("POST", "/api/join"): Path(
        "join",
        "players",
        "Order a place in today's round",
        (
            Says(
                ("ordered", "order_pending"),
                players.Ordered,
                {
                    "order_id": 2507014340608001,
                    "order_no": "TTC0eb00000000001yUTrR3KipTq7",
                    "amount": 100,
                    "pay": {"channel": "platform", "order_no": "TTC0eb00000000001yUTrR3KipTq7", "amount": 100},
                },
            ),
            Says(("already_joined", "settle_first", "profile_required", "join_closed", "voided")),
        ),
        "The payment makes the user a member. Joining again before paying answers the same order. `mobile`, `nickname` "
        "and `openId` are required.",
    ),
    ("POST", "/api/check-in/status"): Path(
        "check_in_status",
        "players",
        "Whether the user has checked in today",
        (Says(("ok",), players.CheckInStatus, {"is_check_in": 1}),),
    ),
    ("POST", "/api/check-in"): Path(
        "check_in",
        "players",
        "Check in to the round whose check-in day is today",
        (
            Says(("checked_in", "already_checked_in"), players.Pool, {"money": 12300}),
            Says(("too_early", "too_late", "not_joined", "voided")),
        ),
        "With `receipt` the answer `checked_in` has a signed receipt, unless none can be made: then, and after "
        "`already_checked_in`, `/api/rounds/{day}/receipt/checked_in` has it.",
    ),
    ("POST", "/api/claim"): Path(
        "claim",
        "players",
        "Claim the red packet of the round whose check-in day is today",
        (
            Says(
                ("claimed", "already_claimed"),
                players.Claimed,
                {"assign": {"money": 57, "stake": 100, "total": 157}},
            ),
            Says(("too_early", "not_settled", "not_joined", "not_checked_in", "voided")),
        ),
        "`not_settled` is worth retrying.",
    ),
    ("POST", "/api/remind"): Path(
        "remind",
        "players",
        "Switch the reminder",
        (Says(("ok",), players.Remind, {"is_remind": 1}),),
    ),
    ("POST", "/api/alert/ack"): Path(
        "ack_alert",
        "players",
        "The result has been seen",
        (Says(("ok",), players.Alert, {"is_alert": 0}),),
    ),
    ("POST", "/api/pay"): Path(
        "pay",
        "players",
        "What the client needs to pay an order with its channel",
        (
            Says(
                ("ok",),
                players.PaymentData,
                {"channel": "platform", "pay": {"channel": "platform", "order_no": "TTC0eb00000000001yUTrR3KipTq7"}},
            ),
            Says(("already_paid", "order_closed", "order_not_found")),
            Says(("pay_refused",), players.WhyRefused),
        ),
        "Asked for again it is the same payment. `unavailable`: the provider does not answer; the order stays.",
    ),
    ("POST", "/api/withdraw"): Path(
        "withdraw",
        "players",
        "Send the whole balance to the user",
        (
            Says(
                ("withdrawing",),
                players.Withdrawing,
                {"withdrawal": {"no": "W7N1", "amount": 157, "state": "done"}},
            ),
            Says(("nothing_to_withdraw",)),
            Says(("below_minimum",), players.BelowMinimum),
        ),
        "One at a time: asked for again while it is on its way, it is the same. A channel may limit what one transfer "
        "carries; the rest stays for the next.",
    ),
    ("GET", "/api/me"): Path("me", "players", "The user's sums", (Says(("ok",), players.Me),)),
    ("GET", "/api/me/history"): Path(
        "history", "players", "The user's movements of money", (Says(("ok",), players.History),)
    ),
    ("GET", "/api/me/yesterday"): Path(
        "yesterday",
        "players",
        "The user in the round whose check-in day is today",
        (Says(("ok",), players.Yesterday),),
    ),
    ("GET", "/api/me/place/{day}"): Path(
        "place",
        "players",
        "Which packet of a round's list is the user's",
        (Says(("ok",), players.Place), Says(("not_found", "not_settled", "archived"))),
    ),
    ("GET", "/api/rounds/{day}/proof/{kind}"): Path(
        "leaf_proof",
        "players",
        "That the user is in the round's tree of stakes, of check-ins or of packets",
        (
            Says(("ok",), rounds.LeafProof),
            Says(("not_found", "not_settled", "not_joined", "not_checked_in", "voided", "archived")),
        ),
        "`kind` is `stake`, `checked_in` or `packet`. The first two are there once check-in is closed and counted. "
        "Without a token, for whoever shows `uid` and that user's `salt` of the kind, as it stands in the leaf; for a "
        "packet that of `checked_in`.",
        stranger=True,
    ),
    ("GET", "/api/rounds/{day}/receipt/{kind}"): Path(
        "receipt",
        "players",
        "A signed receipt of the user's stake or check-in",
        (
            Says(("ok",), players.Receipt),
            Says(("not_found", "not_joined", "not_checked_in", "voided", "archived")),
        ),
        "`kind` is `stake` or `checked_in`. `unavailable` is worth retrying: what was done a moment ago may be on its "
        "way into the books.",
    ),
}

PUBLIC = {
    ("GET", "/api/summary"): Path(
        "guests_summary", "public", "The home page as a guest sees it", (Says(("ok",), players.Summary),)
    ),
    ("GET", "/api/talents"): Path(
        "talents", "public", "The best of the last settled round", (Says(("ok",), players.Talents),)
    ),
    ("GET", "/api/board"): Path("board", "public", "Users by total income", (Says(("ok",), players.Board),)),
    ("GET", "/api/rounds/{day}"): Path(
        "public_round",
        "public",
        "A round's figures",
        (Says(("ok",), rounds.PublicRound), Says(("not_found",))),
    ),
    ("GET", "/api/rounds/{day}/packets"): Path(
        "packets",
        "public",
        "A settled round's packets",
        (Says(("ok",), rounds.Packets), Says(("not_found", "not_settled", "archived"))),
    ),
    ("GET", "/api/rounds/{day}/proof"): Path(
        "proof",
        "public",
        "A round's signed statements",
        (Says(("ok",), rounds.Proof), Says(("not_found",))),
    ),
}

CALLBACKS = {
    ("POST", "/callbacks/platform"): Path(
        "pay_platform",
        "callbacks",
        "A payment of an order",
        (
            Says(("paid", "already_paid"), players.Paid),
            Says(("refund_due",)),
            Says(("amount_mismatch", "buyer_mismatch", "transaction_missing", "order_not_found")),
        ),
        "Signed as Standard Webhooks say. Retry with the same body and a fresh signature until the answer is 2xx. What "
        "is refused after the signature is kept for an operator (docs/platform.md).",
        asked={"receipt": "The answers `paid` and `already_paid` have a signed receipt of the stake"},
    ),
}
