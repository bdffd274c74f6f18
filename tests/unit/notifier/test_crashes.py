"""The notifier ends, or a dependency fails it, between any two effects of one text: one acceptance at most, one end."""

import itertools
from collections.abc import Iterator
from typing import get_args

import pytest
from structlog.testing import capture_logs

from schemas.touches import TouchSent, TouchTaskRequested
from services.notifier.adapters.documents import from_document
from services.notifier.domain.delivery import DeliveryState
from tests.unit.notifier.build import touch
from tests.unit.notifier.lives import STEPS, Answer, Ends, Tells, When, World

AFTERWARDS = list(itertools.product(get_args(Answer), get_args(Tells), (True, False)))
ENDINGS = [
    (step, when, ends)
    for step, when, ends in itertools.product(STEPS, get_args(When), get_args(Ends))
    if (step, ends) != ("post", "fails")  # the provider's adapter raises nothing: what can fail there is the answer
]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep hundreds of tracebacks of ended lives from being rendered."""
    with capture_logs():
        yield


async def test_steps_are_all_effects_of_a_text_that_is_sent() -> None:
    """A new effect on the way has to be added to the steps, or no crash comes before and after it."""
    life = World().life()
    await life.hear()
    assert tuple(life.effects.names) == STEPS


def ends_of(world: World) -> set[str]:
    """Return the different results that tell an end: the text was taken, or a person is asked."""
    return {one.data.TYPE for one in world.topic if isinstance(one.data, TouchSent | TouchTaskRequested)}


def check(world: World, said: str) -> None:
    """Hold that the provider took one text at most, that exactly one end is told, and that nothing is left to do."""
    assert len(world.taken) <= 1, f"{said}: texted twice"
    assert len(ends_of(world)) == 1, f"{said}: {[one.id for one in world.topic]}"
    sent = ends_of(world) == {"touch.sent"}
    assert not sent or len(world.taken) == 1, f"{said}: told as sent, but nobody has it"
    assert sent or world.tells == "nothing" or not world.taken, f"{said}: the provider shows it, and nobody saw"
    state = from_document(world.store.deliveries[touch().touch_id]).state
    assert state in (DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.UNKNOWN), f"{said}: {state}"


@pytest.mark.parametrize(("step", "when", "ends"), ENDINGS)
async def test_life_that_ends_at_any_step_leaves_one_text_at_most_and_one_end(
    step: str, when: When, ends: Ends
) -> None:
    """Whatever the provider does with the request, however it shows it later, and whether the touch is read again."""
    for answer, tells, again in AFTERWARDS:
        world = World(answer, tells)
        life = world.life((STEPS.index(step), when, ends))
        await life.hear()
        if ends == "dies":
            # The offset is committed only once the touch is kept; a commit may be lost at any time.
            life, again = world.life(), again or step == "keep"
        await life.settle(again=again)
        said = f"{ends} {when} {step}, answer {answer}, then {tells}{', read again' if again else ''}"
        check(world, said)
        if answer == "accepted" and STEPS.index(step) < STEPS.index("posting"):
            assert ends_of(world) == {"touch.sent"}, f"{said}: nothing was in doubt"
        assert await life.rig.store.busy(world.clock.now()) is None, said


@pytest.mark.parametrize("tells", get_args(Tells))
@pytest.mark.parametrize("answer", get_args(Answer))
async def test_answer_that_comes_after_another_instance_has_settled_the_doubt_changes_nothing_twice(
    answer: Answer, tells: Tells
) -> None:
    """The answer, or the lack of one, is minutes late: another instance has read the receipts and the list by then."""
    world = World(answer, tells)
    other = world.life()

    async def another_settles_it() -> None:
        await other.settle(again=True)

    world.meanwhile = another_settles_it
    life = world.life()
    await life.hear()
    await life.settle(again=True)
    assert len(world.taken) <= 1
    if answer == "accepted" and tells == "nothing":
        assert ends_of(world) == {"touch.task_requested", "touch.sent"}, "a person was asked before the proof came"
    else:
        check(world, f"late answer {answer}, then {tells}")
    assert await life.rig.store.busy(world.clock.now()) is None
