"""Ingest was out of the phone company's reach: the reconciler finds what no webhook told, and every caller is looked after."""

import secrets
from datetime import timedelta
from typing import Any

from tests.e2e.telephony import NEW_YORK, World, new_caller
from tests.infra.polling import eventually

OFFICERS = ("+12125550161", "+12125550162")


def _calls(world: World, caller: str, ended_s_ago: float, *leg_statuses: str) -> list[dict[str, Any]]:
    """Return a call and its legs as the provider lists them."""
    end = world.now() - timedelta(seconds=ended_s_ago)
    times = {"start_time": (end - timedelta(seconds=40)).isoformat(), "end_time": end.isoformat()}
    call = {"sid": "CA" + secrets.token_hex(16), "from": caller, "to": NEW_YORK, "status": "completed", **times}
    legs = [
        {**call, "sid": "CA" + secrets.token_hex(16), "to": officer, "status": status, "direction": "outbound-dial"}
        | {"parent_call_sid": call["sid"]}
        for officer, status in zip(OFFICERS, leg_statuses, strict=True)
    ]
    return [{**call, "duration_s": 40}, *legs]


async def _control(world: World, what: str, body: dict[str, Any]) -> None:
    async with world.http.post(f"{world.system.sandbox_url}/_control/{what}", json=body) as answer:
        assert answer.status < 300, await answer.text()


async def _lead(world: World, caller: str) -> dict[str, Any]:
    async def there_is() -> list[dict[str, Any]]:
        return [found] if (found := await world.lead(caller)) else []

    found: list[dict[str, Any]] = await eventually(there_is, 20.0, "a lead")
    return found[0]


async def test_three_hours_of_lost_webhooks_end_as_leads_and_tasks_and_only_a_caller_of_just_now_is_texted(
    world: World,
) -> None:
    """A first text lives five minutes; who called earlier gets a person's callback, and so does who may have been served."""
    missed, served, fresh = [new_caller() for _ in range(6)], new_caller(), new_caller()
    listed = [_calls(world, caller, 900 + 1800 * n, "no-answer", "busy") for n, caller in enumerate(missed)]
    listed.append(_calls(world, served, 3600, "no-answer", "completed"))
    listed.append(_calls(world, fresh, 130, "no-answer", "no-answer"))
    await _control(world, "calls", {"calls": [call for calls in listed for call in calls]})
    first = listed[0][0]
    voicemail = {"sid": "RE" + secrets.token_hex(16), "call_sid": first["sid"], "created_at": first["start_time"]}
    words = {"duration_s": 9, "transcription_status": "completed", "transcript": "please call me after five"}
    await _control(world, "recordings", {"recordings": [{**voicemail, **words}]})
    await world.system.restart("reconciler")  # its next pass begins at once

    await world.texts_within(fresh, 1, 20.0)
    for caller in (*missed, served):
        lead = await _lead(world, caller)
        assert lead["owner_id"]
        assert lead["task"]["state"] == "open"

    async def with_words() -> bool:
        return "after five" in str((await _lead(world, missed[0]))["task"]["voicemails"])

    await eventually(with_words, 20.0, "the words of the voicemail")
    await world.idle()
    for caller in (*missed, served):
        assert await world.texts_to(caller) == [], "too late for a text, or served"
    assert (await _lead(world, served))["task"]["reasons"] == ["call_log_incomplete"]
    assert len(await world.texts_to(fresh)) == 1


async def test_stop_whose_webhook_was_lost_is_obeyed_once_the_reconciler_has_listed_it(world: World) -> None:
    caller = new_caller()
    await _control(world, "calls", {"calls": _calls(world, caller, 150, "no-answer", "no-answer")})
    await world.system.restart("reconciler")
    await world.texts_within(caller, 1, 20.0)
    await world.system.stop("ingest")
    await world.reply(caller, "STOP")
    await eventually(lambda: _is_quiet(world), 20.0, "the phone company has given up")
    await world.system.start("ingest")
    world.move(seconds=61)
    await world.system.restart("reconciler")

    async def stopped() -> bool:
        lead = await world.lead(caller)
        return lead is not None and lead["texting"] == "stopped"

    await eventually(stopped, 20.0, "the opt-out")
    world.move(minutes=10)
    await world.idle()
    assert len(await world.texts_to(caller)) == 1, "no second text"


async def _is_quiet(world: World) -> bool:
    async with world.http.get(f"{world.system.sandbox_url}/idle") as answer:
        return bool((await answer.json())["callbacks_open"] == 0)
