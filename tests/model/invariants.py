"""What holds of every row, whatever happened to its caller: asked by the model after each write, and of real rows by chaos."""

from collections.abc import Iterator

from services.sequencer.domain.cadence import Cadences
from services.sequencer.domain.row import OPEN, Phase, Row, StepStatus
from services.sequencer.domain.row_json import RowJson, dump, load
from services.sequencer.errors import BrokenRow

FENCE_FIELD = "@"
"""What the fence keeps in a row beside it."""


def wrong_in(raw: RowJson, cadences: Cadences) -> Iterator[str]:
    """Yield what does not hold of a row as it is stored."""
    own = {name: value for name, value in raw.items() if name != FENCE_FIELD}
    try:
        row = load(own)
    except BrokenRow as error:
        yield f"cannot be read: {error}"
        return
    if dump(row) != own:
        yield "is written otherwise than it was read"
    yield from _wrong_in(row, cadences)


def _wrong_in(row: Row, cadences: Cadences) -> Iterator[str]:
    if not row.last_event:
        yield "was written for no event"
    if (row.last_origin is None) != (not row.last_effects):
        yield "effects without their origin, or an origin without effects"
    found = row.sequence
    is_open = found is not None and not found.finished
    if row.phase is Phase.RECOVERING and not is_open:
        yield "recovering, and no step is open"
    if found is None:
        return
    if not row.lead_id:
        yield "a sequence of no lead"
    cadence = cadences.get(found.cadence)
    names = [step.name for step in found.steps]
    if cadence is not None and names and names != [step.name for step in cadence.steps]:
        yield f"steps {names} are not those of {found.cadence}"
    for step in found.steps:
        if step.attempt < 1:
            yield f"attempt {step.attempt} of {step.name}"
        if step.status is StepStatus.TIMED and step.at is None:
            yield f"{step.name} has a timer without a time"
        if row.phase is Phase.STOPPED and step.status in (StepStatus.WAITING, StepStatus.TIMED):
            yield f"{step.name} is {step.status} though texting is stopped"
    if cadence is None or cadence.first_text is None or (first := found.step(cadence.first_text)) is None:
        return
    for planned in cadence.steps:
        state = found.step(planned.name)
        if planned.channel != "sms" or state is None or state is first:
            continue
        if state.status not in (StepStatus.WAITING, StepStatus.DROPPED) and first.status in OPEN and first.attempt == 1:
            yield f"{state.name} is {state.status} before the first text was sent"
