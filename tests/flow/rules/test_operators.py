"""The book of rules over HTTP and on the command line: who may plan, what is shown, and what is written down."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from clock.config import Settings
from clock.operators.acts import By, listed
from clock.operators.rulebook import Plan, plan, shown
from tests.conftest import DAY, Api, at
from tests.flow.operators.stage import clock, operate
from tests.model.world import new_world, service_with

NEXT, LAST = DAY + timedelta(1), DAY + timedelta(2)
NEW_YEAR = {"zh": "元旦", "en": "New Year"}
PLAN: dict[str, Any] = {
    "first_day": str(NEXT),
    "last_day": str(LAST),
    "changes": {"stake_fen": 500},
    "campaign": NEW_YEAR,
    "bonus_fen": 800,
    "reason": "a holiday",
}


@pytest.fixture
async def api(api: Api) -> Api:
    api.service.time.stop_at(at("12:00"))
    return api


async def test_a_change_is_previewed_planned_shown_and_taken_back(api: Api) -> None:
    await api.service.opener.open_round(DAY)
    status, reply = await operate(api, "POST", "/ops/rules", {**PLAN, "preview": True})
    assert (status, reply["code"], reply["data"]["bonus_fen"]) == (200, "ok", 1_600)
    days = {one["day"]: one["rules"] for one in reply["data"]["days"]}
    assert [(day, rules["stake_fen"], rules["campaign"]) for day, rules in days.items()] == [
        (str(NEXT), 500, NEW_YEAR),
        (str(LAST), 500, NEW_YEAR),
    ]
    _, reply = await operate(api, "GET", f"/ops/rules?from={DAY}&days=3")
    assert (reply["data"]["changes"], reply["data"]["environment"]) == ([], {})  # a preview writes nothing

    _, reply = await operate(api, "POST", "/ops/rules", PLAN)
    assert (reply["code"], reply["message"]) == ("planned", "规则已排定")
    number = reply["data"]["id"]
    _, reply = await operate(api, "GET", f"/ops/rules?from={DAY}&days=4")
    told = reply["data"]
    assert [(one["open"], one["rules"]["stake_fen"], one["changes"]) for one in told["days"]] == [
        (True, 100, []),
        (False, 500, [number]),
        (False, 500, [number]),
        (False, 100, []),
    ]
    (one,) = told["changes"]
    assert (one["by_whom"], one["reason"], one["bonus_fen"], one["campaign"]) == ("99", "a holiday", 800, NEW_YEAR)
    assert (one["changes"], one["taken_back_by"]) == ({"stake_fen": 500}, None)

    path = f"/ops/rules/{number}/take-back"
    for _ in range(2):
        assert (await operate(api, "POST", path, {"reason": "rain"}))[1]["code"] == "taken_back"
    (one,) = (await operate(api, "GET", "/ops/rules"))[1]["data"]["changes"]
    assert (one["taken_back_by"], one["taken_back_reason"]) == ("99", "rain")
    acts = (await listed(api.service, 1, 10)).data["items"]
    assert [(act["act"], act["amount_fen"], act["word"]) for act in acts] == [
        ("take_back_rules", None, "taken_back"),
        ("take_back_rules", None, "taken_back"),
        ("plan_rules", 1_600, "planned"),
    ]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no reason": ({"reason": ""}, "reason"),
    "an unknown rule": ({"changes": {"stakes": 1}}, "stakes"),
    "the time zone": ({"changes": {"timezone": "UTC"}}, "timezone"),
    "no stake": ({"changes": {"stake_fen": 0}}, "stake_fen"),
    "half a campaign": ({"campaign": {"zh": "元旦"}}, "en"),
    "no day": ({"first_day": "tomorrow"}, "first_day"),
    "a negative bonus": ({"bonus_fen": -1}, "bonus_fen"),
}


@pytest.mark.parametrize(("change", "named"), BAD.values(), ids=BAD)
async def test_what_is_malformed_is_refused_by_name(api: Api, change: dict[str, Any], named: str) -> None:
    status, reply = await operate(api, "POST", "/ops/rules", {**PLAN, **change})
    assert (status, reply["code"]) == (400, "bad_request")
    assert named in reply["message"]


async def test_only_who_has_the_right_plans_and_everybody_who_reads_sees(api: Api) -> None:
    tokens = api.service.tokens

    async def asked(method: str, path: str, scope: str | None, body: Any = None, role: Any = "operator") -> int:
        headers = {"authorization": f"Bearer {tokens.issue('anna', role, scope=scope)}"}
        return (await api.send(method, path, body, headers))[0]

    assert await asked("GET", "/ops/rules", "read") == 200
    assert await asked("GET", "/ops/rules", None, role="service") == 403
    assert await asked("POST", "/ops/rules", "read money", PLAN) == 403
    assert await asked("POST", "/ops/rules/1/take-back", "read money", {"reason": "rain"}) == 403
    assert await asked("POST", "/ops/rules", "rules", PLAN) == 200
    assert (await operate(api, "POST", "/ops/rules/7/take-back", {"reason": "rain"}))[1]["code"] == "change_not_found"


async def test_a_large_bonus_needs_a_second_name(shared: Settings) -> None:
    """All of it counts: 800 fen on each of two days are above 1,000."""
    async with new_world(shared, second_name_fen=1_000) as service:
        service.time.stop_at(at("12:00"))
        asked = msgspec.convert(PLAN, Plan, strict=False)
        words = [(await plan(service, By(who, ""), asked)).word for who in ("anna", "anna", "ben", "anna")]
        assert words == ["second_name_needed", "second_name_needed", "planned", "second_name_needed"]
        (one,) = (await shown(service, None, 1, 1, 10)).data["changes"]
        assert one["by_whom"] == "ben"


async def test_where_the_environment_says_otherwise_is_shown_and_decides_nothing(shared: Settings) -> None:
    async with new_world(shared) as service:
        empty = (await shown(service, DAY, 1, 1, 10)).data
        assert (empty["empty"], empty["environment"]) == (True, {})
        await service.opener.open_round(DAY)
        async with service_with(shared, stake_fen=777, split="equal") as other:
            told = (await shown(other, DAY, 2, 1, 10)).data
            assert told["environment"] == {
                "stake_fen": {"book": 100, "environment": 777},
                "split": {"book": "random", "environment": "equal"},
            }
            assert [one["rules"]["stake_fen"] for one in told["days"]] == [100, 100]


async def test_the_command_plans_shows_and_takes_back(settings: Settings, api: Api) -> None:
    """By the real clock: a change that begins in a month."""
    soon = datetime.now(UTC).date() + timedelta(30)
    far = str(soon + timedelta(400))
    status, said = await clock(settings, "rules", "--first-day", far, "--set", "stake_fen=200", "--preview")
    assert (status, "rules_misfit" in said, "366 days ahead" in said) == (1, True, True)
    file = settings.data_dir / "plan.json"
    file.write_bytes(msgspec.json.encode({**PLAN, "first_day": soon, "last_day": soon}))
    status, said = await clock(settings, "rules", "--plan", str(file))
    assert status == 0, said
    assert '"code": "planned"' in said
    (one,) = (await operate(api, "GET", "/ops/rules"))[1]["data"]["changes"]
    assert "@" in one["by_whom"]
    status, said = await clock(settings, "rules", "--take-back", str(one["id"]), "--reason", "rain")
    assert (status, '"code": "taken_back"' in said) == (0, True)
