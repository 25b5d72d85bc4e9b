"""Every path of the service: what it is for, which words it answers, and what data comes with each.

The home of *which words can a verb answer*; what a word means is in :data:`clock.domain.outcomes.OUTCOMES`.
"""

from clock.http.schema import live, operators, persons, players, rulebook
from clock.http.schema.path import Path, Says
from clock.http.schema.player_paths import CALLBACKS, PLAYERS, PUBLIC

_OF_ROUND = Says(("round_not_found",), operators.OfRound)
_UNKNOWN_ROUND = Says(("round_not_found",))
_SECOND = Says(("second_name_needed",), persons.SecondName)
_DIFFER = Says(("books_differ",), operators.BooksDiffer)

_ASKED = (
    "A worker does it. `working` after 10 s: it goes on, and `GET /ops/work` shows how far it is and how it ends. "
    "`unavailable` with data: no worker lives, or a server is away; it is kept, and done as soon as a worker can."
)

_WORKING = Says(
    ("working", "unavailable"),
    operators.Working,
    {"kind": "settle", "about": "2026-11-22", "state": "running", "step": "publishing", "done": 4000, "total": 10000},
)

OPERATORS = {
    ("GET", "/ops/live"): Path("live", "operators", "What happens now, and the alarms", (Says(("ok",), live.Live),)),
    ("GET", "/ops/rounds/{day}"): Path(
        "operators_round", "operators", "A round", (Says(("ok",), operators.OperatorsRound), _UNKNOWN_ROUND)
    ),
    ("POST", "/ops/rounds/{day}/settle"): Path(
        "settle",
        "operators",
        "Settle a round that is due",
        (Says(("settled", "not_due", "round_void"), operators.OfRound), _OF_ROUND, _DIFFER, _WORKING),
        _ASKED,
    ),
    ("POST", "/ops/rounds/{day}/void"): Path(
        "void",
        "operators",
        "Call a round off: every stake is refunded",
        (Says(("ok", "round_drawn", "round_settled"), operators.OfRound), _SECOND, _UNKNOWN_ROUND, _DIFFER, _WORKING),
        _ASKED,
    ),
    ("POST", "/ops/rounds/{day}/extend"): Path(
        "extend",
        "operators",
        "Make the check-in of an open round longer",
        (Says(("extended", "check_in_closed", "too_long"), operators.OfRound), _OF_ROUND),
    ),
    ("GET", "/ops/steps/{day}"): Path(
        "steps", "operators", "A round by the minute", (Says(("ok",), operators.Steps), _UNKNOWN_ROUND)
    ),
    ("GET", "/ops/reconcile/{day}"): Path(
        "reconciled",
        "operators",
        "The last comparison of a round's books",
        (Says(("ok", "books_agree", "books_differ"), operators.LastReports), _UNKNOWN_ROUND),
    ),
    ("GET", "/ops/rounds/{day}/export"): Path(
        "export",
        "operators",
        "A round's books as CSV",
        (Says(("round_not_found", "archived")),),
        "In UTF-8 with a byte order mark. A file that breaks off is not whole.",
        bare={200: "text/csv"},
    ),
    ("POST", "/ops/reconcile/{day}"): Path(
        "reconcile",
        "operators",
        "Compare Redis, books, ledger, manifest and bill now",
        (
            Says(("books_agree", "books_differ"), operators.Reports),
            Says(("round_not_found", "archived")),
            _WORKING,
        ),
        _ASKED,
    ),
    ("GET", "/ops/work"): Path(
        "work",
        "operators",
        "Long work: what runs, and how the last pieces ended",
        (Says(("ok",), operators.LongWorks),),
    ),
    ("GET", "/ops/outgoing"): Path(
        "outgoing",
        "operators",
        "Refunds, payouts and withdrawals",
        (Says(("ok",), operators.OutgoingPage), Says(("archived",))),
    ),
    ("POST", "/ops/outgoing/{no}/again"): Path(
        "again",
        "operators",
        "Send a failed refund or payout again",
        (
            Says(("sent_again",), persons.SentAgain),
            Says(("not_final",), persons.NotFinal),
            Says(("balance_short", "not_failed", "archived")),
            _SECOND,
        ),
        "A refund under its number, a payout under a new one, out of the user's balance.",
    ),
    ("POST", "/ops/outgoing/{no}/acknowledge"): Path(
        "acknowledge",
        "operators",
        "A failed refund or payout was seen to",
        (Says(("acknowledged",), persons.Acknowledged), Says(("not_failed",))),
        "It rings no longer. The money stays in the user's balance.",
    ),
    ("POST", "/ops/outgoing/again"): Path(
        "all_again",
        "operators",
        "Send everything of a kind that has failed again",
        (Says(("ok",), persons.AllSentAgain), _SECOND, _WORKING),
        "Each as one alone; one that cannot be sent holds up no other. The sum of all decides about a second name. "
        + _ASKED,
    ),
    ("POST", "/ops/outgoing/acknowledge"): Path(
        "all_acknowledged",
        "operators",
        "Everything of a kind that has failed was seen to",
        (Says(("ok",), persons.AllAcknowledged), _WORKING),
        f"It rings no longer. The money stays in the users' balances. {_ASKED}",
    ),
    ("GET", "/ops/rules"): Path(
        "rules", "operators", "The book of rules, and what days will be like", (Says(("ok",), rulebook.Rulebook),)
    ),
    ("POST", "/ops/rules"): Path(
        "plan_rules",
        "operators",
        "Plan other rules for days whose round does not exist yet",
        (
            Says(("planned",), rulebook.Planned),
            Says(("ok",), rulebook.Preview),
            Says(("rules_too_late", "rules_misfit", "rules_full"), rulebook.RulesRefused),
            _SECOND,
        ),
        "With `preview` it only says what the days would be like. The same again is the same change.",
    ),
    ("POST", "/ops/rules/{change}/take-back"): Path(
        "take_back_rules",
        "operators",
        "Take a change back, as long as no round was opened by it",
        (
            Says(("taken_back",), rulebook.TakenBack),
            Says(("rules_too_late", "rules_misfit"), rulebook.RulesRefused),
            Says(("change_not_found",)),
        ),
    ),
    ("GET", "/ops/find"): Path(
        "find", "operators", "Users by a number that they can tell", (Says(("ok",), persons.Persons),)
    ),
    ("GET", "/ops/people/{uid}"): Path(
        "story", "operators", "A user's story", (Says(("ok",), persons.Story), Says(("person_not_found",)))
    ),
    ("POST", "/ops/people/{uid}/withdraw"): Path(
        "withdraw_for",
        "operators",
        "Send a user's whole balance",
        (
            Says(("withdrawing",), players.Withdrawing, {"withdrawal": {"no": "W7N1", "amount": 157, "state": "done"}}),
            Says(("nothing_to_withdraw",)),
            Says(("below_minimum",), players.BelowMinimum),
            _SECOND,
        ),
        "As the user could. Where the channel wants it confirmed, only the user can do that.",
    ),
    ("GET", "/ops/lookalikes/{day}"): Path(
        "lookalikes",
        "operators",
        "Members of a round who look alike",
        (Says(("ok",), persons.Lookalikes), Says(("round_not_found", "archived"))),
    ),
    ("POST", "/ops/people/{uid}/forget"): Path(
        "forget",
        "operators",
        "Empty what names a user wherever no money needs it",
        (Says(("forgotten", "forgotten_in_part"), persons.Forgotten), Says(("person_not_found",))),
        "The right `people`. The same again completes it when the user's rounds have ended.",
    ),
    ("GET", "/ops/people/{uid}/export"): Path(
        "export_user",
        "operators",
        "Everything that is kept about a user, as one JSON document",
        (Says(("person_not_found",)),),
        "The right `people`. A document that breaks off is not whole.",
        bare={200: "application/json"},
    ),
    ("GET", "/ops/actions"): Path("actions", "operators", "What operators did", (Says(("ok",), persons.Acts),)),
    ("GET", "/ops/unanswered/{day}"): Path(
        "unanswered",
        "operators",
        "Unpaid orders about which the channel gave no answer",
        (Says(("ok",), operators.UnansweredPage), _UNKNOWN_ROUND),
    ),
    ("GET", "/ops/events"): Path(
        "events",
        "operators",
        "Events for hosts",
        (Says(("ok",), operators.EventsPage),),
        "Also for tokens with the role service.",
    ),
    ("POST", "/ops/events/{event}/again"): Path(
        "event_again",
        "operators",
        "Send an event again, under its id",
        (Says(("event_due",), operators.EventDue), Says(("event_not_found",))),
        "Also for tokens with the role service.",
    ),
    ("GET", "/ops/quarantine"): Path(
        "quarantine", "operators", "Signed callbacks that were not credited", (Says(("ok",), operators.QuarantinePage),)
    ),
    ("POST", "/ops/quarantine/{entry}/release"): Path(
        "release",
        "operators",
        "Decide about a quarantined callback",
        (
            Says(("released", "already_released"), operators.Decision),
            Says(("cannot_release",), operators.CannotRelease),
            Says(("quarantined_not_found",)),
            _SECOND,
        ),
    ),
}

OTHERS = {
    ("GET", "/healthz"): Path("healthz", "health", "The process lives", bare={200: live.Alive}),
    ("GET", "/readyz"): Path(
        "readyz", "health", "Whether the process should get traffic", bare={200: live.Ready, 503: live.Ready}
    ),
    ("GET", "/metrics"): Path(
        "metrics",
        "health",
        "For Prometheus",
        (Says(("unauthenticated", "slow_down", "busy", "internal")),),
        "With `CLOCK_METRICS_TOKEN` it wants that as a bearer token.",
        bare={200: "text/plain"},
    ),
    ("PUT", "/dev/time"): Path("move_time", "development", "Move the game's clock", (Says(("ok",), live.Moved),)),
    ("DELETE", "/dev/time"): Path("real_time", "development", "Back to the real time", (Says(("ok",), live.Moved),)),
    ("POST", "/dev/token"): Path("dev_token", "development", "A token", (Says(("ok",), live.Token),)),
    ("POST", "/dev/confirm"): Path(
        "dev_confirm",
        "development",
        "Let its user confirm a withdrawal at the provider's double",
        (
            Says(("ok",)),
            Says(("order_not_found",)),
        ),
    ),
    ("POST", "/dev/pay"): Path(
        "dev_pay",
        "development",
        "Let the provider's double take an order's payment",
        (
            Says(("paid", "already_paid", "refund_due")),
            Says(("order_closed", "amount_mismatch", "buyer_mismatch", "transaction_missing", "order_not_found")),
        ),
    ),
}

PATHS: dict[tuple[str, str], Path] = {**PLAYERS, **PUBLIC, **CALLBACKS, **OPERATORS, **OTHERS}
