"""The one open task of a lead: every request for one merges into it (fact Q22: one task a lead, owned from the start)."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime
from typing import Final

from services.leads.domain.model import VOICEMAILS_LIMIT, Lead, Task, TaskKind, Urgency, Voicemail

ORDER_OF_URGENCY: Final[Mapping[Urgency, int]] = {"normal": 0, "high": 1, "urgent": 2}
REASONS_LIMIT: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """Something a person should do, and why."""

    due_at: datetime
    reason: str
    _: KW_ONLY
    urgency: Urgency = "normal"
    kind: TaskKind = "callback"
    voicemails: tuple[Voicemail, ...] = ()


def with_task(lead: Lead, request: TaskRequest, now: datetime) -> Lead:
    """Return the lead with the request merged into its task: earliest due, highest urgency, all reasons and recordings."""
    made, task = lead.tasks_made, lead.task
    if task is None:
        made += 1
        task = Task(task_id=f"{lead.lead_id}:task:{made}", kind=request.kind, due_at=request.due_at, created_at=now)
    reasons = task.reasons if request.reason in task.reasons else (*task.reasons, request.reason)
    merged = replace(
        task,
        due_at=min(task.due_at, request.due_at),
        urgency=max(task.urgency, request.urgency, key=ORDER_OF_URGENCY.__getitem__),
        reasons=reasons[:REASONS_LIMIT],
        voicemails=_merged(task.voicemails, request.voicemails),
    )
    return replace(lead, task=merged, tasks_made=made)


def _merged(have: tuple[Voicemail, ...], more: tuple[Voicemail, ...]) -> tuple[Voicemail, ...]:
    found = {one.recording_id: one for one in have}
    for one in more:
        old = found.get(one.recording_id, one)
        found[one.recording_id] = replace(
            one,
            url=one.url or old.url,
            duration_s=max(one.duration_s, old.duration_s),
            transcript=one.transcript or old.transcript,
        )
    return tuple(found.values())[-VOICEMAILS_LIMIT:]


def without_task(lead: Lead, outcome: str, now: datetime) -> Lead:
    """Return the lead without its task, which it keeps as the one closed last, to be logged."""
    if lead.task is None:
        return lead
    return replace(lead, task=None, task_closed=replace(lead.task, state="done", closed_at=now, outcome=outcome))
