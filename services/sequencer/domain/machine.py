"""`decide`: one caller's row and one event in, the next row and its effects out. Pure; `now` is the event's time."""

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
    """Return what an event makes of a caller; nothing has changed when the row in the decision is `before` itself.

    The same event again emits the same effects again: their ids are derived, so readers know them already. An event that
    the row has passed is ignored. An event's `texting` overrides the row, so that a lost row leads to no text too many.

    Args:
        before: the caller's row; `EMPTY` for a caller who is not known yet.
        event: any event with the caller's key.
        cadences: by name.

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
    changed = made.row.remembering(event, effects)
    return Decision(changed, effects, None if effects else made.ignored)


def _heard(row: Row, data: LeadEvent, cadences: Cadences) -> tuple[Row, tuple[Effect, ...]]:
    """Take what every event of a lead says: its count, and whether texting is open, whatever the row says."""
    row = row.heard(data.lead_seq) if data.lead_id == row.lead_id else Row(lead_id=data.lead_id, lead_seq=data.lead_seq)
    if data.texting == "stopped" and row.phase is not Phase.STOPPED and not isinstance(data, LeadOptedOut):
        row, effects = sequence.stop(row, sequence.cadence_of(row, cadences), Stop.OPTED_OUT)
        return replace(row, phase=Phase.STOPPED), effects
    if data.texting != "stopped" and row.phase is Phase.STOPPED and not isinstance(data, LeadOptedIn | LeadOptedOut):
        return replace(row, phase=Phase.IDLE), ()
    return row, ()
