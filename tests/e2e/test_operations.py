"""What an SRE relies on: health, metrics, logs without borrowers, and restarts that change nothing."""

import re

import pytest

from deploy.local.system import SERVICES
from tests.e2e.telephony import Call, World, new_caller

GAPS = ("voice", "legs", "dial", "end", "text")


@pytest.mark.parametrize("name", [*SERVICES, "reconciler"])
async def test_each_process_answers_health_readiness_and_metrics(world: World, name: str) -> None:
    ops = world.system.running[name].ops
    for path in ("/healthz", "/readyz", "/metrics"):
        async with world.http.get(ops + path) as answer:
            assert answer.status == 200, await answer.text()
            text = await answer.text()
    assert "ringback_build_info" in text
    if name == "notifier":
        assert "ringback_first_text_seconds_bucket" in text
    assert not re.search(r"\+1\d{10}", text), "no metric carries a number"


@pytest.mark.parametrize("name", SERVICES)
async def test_restart_between_each_pair_of_steps_changes_nothing(world: World, name: str) -> None:
    """Fact M8: whichever process is restarted, and whenever, the caller gets one text, and the next one ten minutes later."""
    caller = new_caller()
    call = Call(world, caller)
    steps = {"voice": call.voice, "legs": call.legs_end, "dial": call.dial, "end": call.ends}
    for gap in GAPS:
        if gap in steps:
            await steps[gap]()
        else:
            await world.texts_within(caller, 1, 20.0)
        await world.system.restart(name)
    await world.texts_within(caller, 1, 20.0)
    await world.idle()
    assert len(await world.texts_to(caller)) == 1
    world.move(minutes=10)
    await world.texts_within(caller, 2, 20.0)
    await world.idle()
    assert len(await world.texts_to(caller)) == 2


async def test_logs_of_all_that_ran_carry_no_number_and_no_words(world: World) -> None:
    caller = new_caller()
    call = Call(world, caller)
    await call.is_missed()
    await call.voicemail("my salary is ninety thousand")
    await world.texts_within(caller, 1, 5.0)
    await world.reply(caller, "call me about my divorce")
    await world.idle()
    for name in [*SERVICES, "reconciler"]:
        text = (world.system.folder / f"{name}.log").read_text()
        assert '"settings"' in text, f"{name} wrote a log at all"
        assert caller[1:] not in text
        assert "salary" not in text
        assert "divorce" not in text
        assert not re.search(r"\+1\d{10}\b", text), name
