"""`decide`: one caller's row and one event in, the next row and its effects out. Pure; now is the event's time."""

from dataclasses import replace

from schemas.base import EventData
from schemas.envelope import Event
from schemas.leads import LeadEvent, LeadOptedIn, LeadOptedOut
from services.sequencer.domain import sequence
from services.sequencer.domain.cadence import Cadences, Stop
from services.sequencer.domain.effects import Effect
from services.sequencer.domain.row import Phase, Row
from services.sequencer.domain.transitions import RULES, Decision

SOURCE = "ringback/sequencer"


def decide(before: Row, event: Event[EventData], cadences: Cadences) -> Decision:
    """Return what an event makes of a caller (`EMPTY`: one not known yet); the very same row says: unchanged.

    The same event again re-emits what it emitted (its ids are derived, so readers know them), an event that the row
    has passed is ignored, and an event's `texting` beats the row, so that a row may be lost without a text too many.

    Raises:
        PermanentError: the event asks for what does not exist; the row must stay as it was.
    """
    if event.id == before.last_event:
        return Decision(before, before.last_effects, "replayed")
    data, current = event.data, before
    early: tuple[Effect, ...] = ()
    if isinstance(data, LeadEvent):
        if data.lead_id == before.lead_id and data.lead_seq <= before.lead_seq:
            return Decision(before, ignored="passed")
        current, early = _heard(before, data, cadences)
    elif event.source == SOURCE:
        return Decision(before, ignored="own")
    rule = RULES.get((current.phase, type(data)))
    if rule is None:
        return Decision(before, ignored="not_for_us")
    made = rule.act(current, data, event.time, cadences)
    if made.row == before:
        return replace(made, row=before)
    effects = (*early, *made.effects)
    changed = made.row.remembering(event.id, effects)
    return Decision(changed, effects, None if effects else made.ignored)


def _heard(row: Row, data: LeadEvent, cadences: Cadences) -> tuple[Row, tuple[Effect, ...]]:
    """Take what every event of a lead says: its count, and whether texting is open, whatever the row believed."""
    row = row.heard(data.lead_seq) if data.lead_id == row.lead_id else Row(lead_id=data.lead_id, lead_seq=data.lead_seq)
    if data.texting == "stopped" and row.phase is not Phase.STOPPED and not isinstance(data, LeadOptedOut):
        row, effects = sequence.stop(row, sequence.cadence_of(row, cadences), Stop.OPTED_OUT)
        return replace(row, phase=Phase.STOPPED), effects
    if data.texting != "stopped" and row.phase is Phase.STOPPED and not isinstance(data, LeadOptedIn | LeadOptedOut):
        return replace(row, phase=Phase.IDLE), ()
    return row, ()
