"""What a carrier's "undelivered" makes of a text: another attempt once, a task, or the end of it."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from schemas.touches import TouchDue, TouchFailed, TouchTaskRequested
from services.notifier.domain.delivery import DeliveryState
from services.notifier.domain.twilio_codes import CODES
from tests.unit.notifier.build import LEAD, receipt, touch
from tests.unit.notifier.rig import Rig

HOUR = timedelta(hours=1)


def second(attempt: int = 1, **more: Any) -> TouchDue:
    """Return the second text of a sequence, which may go for an hour."""
    due = touch(step="text-10min", attempt=attempt, first_of_sequence=False)
    return due.model_copy(update={"expires_at": due.due_at + HOUR, **more})


async def undelivered(rig: Rig, due: TouchDue, code: int | None) -> TouchFailed:
    stored = rig.stored(due)
    await rig.shell.on_receipt(receipt(stored.sid or "", "undelivered", code, touch=due.touch_id))
    return next(one.data for one in reversed(rig.producer.sent) if isinstance(one.data, TouchFailed))


@pytest.mark.parametrize(("code", "wait"), [(30001, timedelta(minutes=1)), (30003, timedelta(minutes=30))])
async def test_overflow_or_unreachable_handset_lets_a_later_text_of_the_sequence_try_once_more(
    rig: Rig, code: int, wait: timedelta
) -> None:
    await rig.run(second())
    said = await undelivered(rig, second(), code)
    assert (said.retriable, said.until) == (True, rig.clock.virtual + wait)
    assert (await rig.run(second(2))).state is DeliveryState.SENT
    assert len(rig.provider.texts) == 2


async def test_second_undelivered_attempt_of_one_step_is_the_last(rig: Rig) -> None:
    for attempt in (1, 2):
        await rig.run(second(attempt))
        said = await undelivered(rig, second(attempt), 30001)
    assert (said.retriable, said.until) == (False, None)
    assert (await rig.run(second(3))).reason == "already_sent"
    assert len(rig.provider.texts) == 2


@pytest.mark.parametrize("code", [*sorted(set(CODES) - {30001, 30003}), 99999, None])
async def test_any_other_code_is_final_and_keeps_the_step_from_a_second_text(rig: Rig, code: int | None) -> None:
    await rig.run(second())
    assert not (await undelivered(rig, second(), code)).retriable
    assert (await rig.run(second(2))).reason == "already_sent"


async def test_attempt_that_would_come_after_the_text_expires_is_not_made(rig: Rig) -> None:
    short = second(expires_at=second().due_at + timedelta(minutes=29))
    await rig.run(short)
    assert not (await undelivered(rig, short, 30003)).retriable


async def test_text_outside_a_cadence_is_not_tried_again_because_nobody_would(rig: Rig) -> None:
    desk = second(sequence_id=LEAD)
    await rig.run(desk)
    assert not (await undelivered(rig, desk, 30001)).retriable


@pytest.mark.parametrize("code", [30001, 30003, 30006, 30007, 30008, None])
async def test_undelivered_first_text_is_an_urgent_task_and_not_tried_again(rig: Rig, code: int | None) -> None:
    await rig.run()
    assert not (await undelivered(rig, touch(), code)).retriable
    assert rig.said() == ["touch.sent", "touch.failed", "touch.task_requested"]
    task = rig.producer.sent[-1].data
    assert isinstance(task, TouchTaskRequested)
    assert (task.kind, task.urgent) == ("text_not_sent", True)
    assert (await rig.run(touch(attempt=2))).reason == "already_sent"


@pytest.mark.parametrize("code", [30008, 30410, 99999, None])
async def test_unclear_failure_of_a_later_text_is_a_task_and_a_known_one_is_not(rig: Rig, code: int | None) -> None:
    await rig.run(second())
    await undelivered(rig, second(), code)
    assert rig.said()[-1] == "touch.task_requested"
    other = second(step="text-other", touch_id="another")
    await rig.run(other)
    await undelivered(rig, other, 30007)
    assert rig.said()[-1] == "touch.failed"


async def test_undelivered_text_is_counted_by_what_its_code_means(rig: Rig) -> None:
    before = REGISTRY.get_sample_value("ringback_undelivered_total", {"why": "landline"}) or 0.0
    await rig.run()
    await undelivered(rig, touch(), 30006)
    assert REGISTRY.get_sample_value("ringback_undelivered_total", {"why": "landline"}) == before + 1


@pytest.mark.parametrize("code", [30034, 30035])
async def test_text_that_our_registration_kept_from_arriving_is_logged_as_a_matter_of_configuration(
    rig: Rig, code: int
) -> None:
    await rig.run()
    with capture_logs() as logs:
        await undelivered(rig, touch(), code)
    assert [one["code"] for one in logs if one["event"] == "provider_configuration"] == [code]


async def test_opt_out_at_the_carrier_asks_for_no_task(rig: Rig) -> None:
    await rig.run()
    await undelivered(rig, touch(), 21610)
    assert rig.said() == ["touch.sent", "touch.failed"]


async def test_repeated_receipt_frees_nothing_again_and_says_nothing_new(rig: Rig) -> None:
    await rig.run(second())
    await undelivered(rig, second(), 30001)
    before = rig.said()
    await undelivered(rig, second(), 30001)
    assert rig.said() == before
