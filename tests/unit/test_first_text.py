"""From a call's facts to the provider's door through the code of all three services, nothing but the machines left out."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from schemas.base import EventData
from schemas.envelope import Event, decode
from schemas.touches import TouchDue
from services.notifier.adapters.documents import from_document
from services.notifier.domain.delivery import DeliveryState, RenderedText
from services.policy import gsm, wording
from services.policy.directory import Template, load_directory
from services.sequencer.adapters.cadences import load_cadences
from services.sequencer.domain.emit import events
from services.sequencer.domain.machine import decide
from services.sequencer.domain.row import EMPTY
from tests.unit.leads.events import CALLER, InboundCall
from tests.unit.leads.rig import Rig as LeadsRig
from tests.unit.notifier.rig import Rig as NotifierRig

CADENCES = load_cadences()
LENDER = load_directory(Path(__file__).parents[2] / "deploy/examples/lender.yaml")
FIRST_TEXTS = LENDER.templates["missed_call_first"]
HOUR = 3600.0
TALKS_S = 21.0
"""How long after its beginning an InboundCall ends."""

NEXT_STEPS = ("text back or call", "text me here", "Text us here", "We'll have a loan officer call you")
"""What a first text may ask of a borrower, or promise instead."""


async def first_text(
    facts: Sequence[Event[EventData]], after_s: float, status: str
) -> tuple[NotifierRig, LeadsRig, TouchDue]:
    """Let leads, the sequencer and the notifier have a call, at the instant that it ends; return what became of it."""
    leads, notifier = LeadsRig(), NotifierRig()
    await leads.seed()
    for officer in leads.store.officers_.values():
        officer["status"] = status
    leads.clock.virtual += timedelta(seconds=after_s + TALKS_S)
    notifier.clock.virtual = leads.clock.virtual
    await leads.give(*facts)
    row, due = EMPTY, []
    for record in leads.producer.records:
        told = decode(record.key, record.value, record.headers)
        decision = decide(row, told, CADENCES)
        row = decision.row
        due += [one for one in events(decision.effects, row, told) if isinstance(one.data, TouchDue)]
    notifier.store.leads, notifier.store.officers = dict(leads.store.leads), dict(leads.store.officers_)
    for one in due:
        await notifier.shell.on_touch(one, notifier)
        await notifier.shell.deliver(notifier.taken.pop())
    [touch] = [one.data for one in due]
    assert isinstance(touch, TouchDue)
    return notifier, leads, touch


def sent(notifier: NotifierRig) -> RenderedText:
    [(text, _, _)] = notifier.provider.texts
    return text


@pytest.mark.parametrize("status", ["available", "busy", "off"])
@pytest.mark.parametrize(
    ("after_s", "variants"),
    [
        pytest.param(0, {"available": "free", "busy": "busy", "off": "no_name"}, id="Tuesday noon"),
        pytest.param(11.5 * HOUR, dict.fromkeys(("available", "busy", "off"), "after_hours"), id="Tuesday 23:30"),
        pytest.param(5 * 24 * HOUR, dict.fromkeys(("available", "busy", "off"), "after_hours"), id="Sunday noon"),
    ],
)
async def test_first_text_leaves_at_the_calls_end_at_any_hour_whoever_is_free(
    after_s: float, variants: dict[str, str], status: str
) -> None:
    """Facts A9, C1, C5, C6: the first text is due the moment the call ends, at any hour and whoever is free.

    Fact C14: only its words differ; "now" is said only for an officer who is available.
    """
    notifier, leads, touch = await first_text(InboundCall(offset_s=after_s).missed(), after_s, status)
    assert touch.due_at == notifier.clock.virtual == leads.lead()["last_call_ended_at"]
    assert touch.lane == "urgent"
    stored = from_document(notifier.store.deliveries[touch.touch_id])
    assert (stored.state, stored.sent_at, stored.base_at) == (DeliveryState.SENT, touch.due_at, touch.due_at)
    assert (sent(notifier).to, sent(notifier).variant) == (CALLER, variants[status])


async def test_lead_has_the_callers_number_the_first_contacts_time_the_source_and_the_status() -> None:
    """Facts B1, B2: the lead is there at the moment of the decision, with number, first contact, source and status."""
    _, leads, _ = await first_text(InboundCall().missed(), 0, "available")
    lead = leads.lead()
    assert lead["caller"] == CALLER
    assert lead["first_contact_at"] == InboundCall().at(0)
    assert lead["source"] == "Inbound missed call"
    assert lead["status"] == "attempted_contact"
    assert lead["task"]["due_at"] == leads.clock.now()


async def test_report_of_an_answered_call_that_only_a_voicemail_answered_is_missed() -> None:
    """Facts 0.1, Q1: a voicemail has a duration and some systems call it answered, but no person talked: it is missed."""
    report = InboundCall().completed(answered=True, duration_s=60)
    report = replace(report, data=report.data.model_copy(update={"voicemail": True}))
    notifier, leads, _ = await first_text([report], 9, "busy")
    assert (leads.call()["outcome"], leads.call()["voicemail"]) == ("missed", True)
    assert leads.lead()["task"]["reasons"] == ["voicemail"]
    assert sent(notifier).to == CALLER


async def test_known_missed_call_of_an_internal_number_takes_the_whole_path_and_counts_as_no_call() -> None:
    """Facts A11, C12: a test call takes the same path as any other, up to the text, and no figure counts it."""

    def counted() -> float | None:
        return REGISTRY.get_sample_value("ringback_calls_total", {"outcome": "missed"})

    before = counted()
    facts = [replace(fact, data=fact.data.model_copy(update={"test": True})) for fact in InboundCall().missed()]
    notifier, leads, _ = await first_text(facts, 0, "available")
    assert sent(notifier).to == CALLER
    assert (leads.lead()["test"], leads.lead()["task"]["state"], bool(leads.lead()["owner_id"])) == (True, "open", True)
    assert counted() == before
    await first_text(InboundCall().missed(), 0, "available")
    assert before is not None
    assert counted() == before + 1


@pytest.mark.parametrize("name", [None, "Ana"], ids=["no name", "a name"])
@pytest.mark.parametrize("variant", FIRST_TEXTS)
def test_first_text_says_sorry_says_who_and_gives_one_next_step(variant: str, name: str | None) -> None:
    """Facts C7, C10: it is short, names the lender, gives one next step, and reads well without the borrower's name."""
    body = rendered(FIRST_TEXTS[variant], name)
    assert "missed your call" in body
    assert LENDER.name in body
    assert [step for step in NEXT_STEPS if step in body] != []
    assert sum(body.count(step) for step in NEXT_STEPS) == 1
    assert ("Dana Whitfield" in body) == (variant in wording.SIGNED_BY_OFFICER)
    assert "  " not in body
    assert "None" not in body
    assert not {"{", "}"} & set(body)
    assert gsm.segments(body) <= 2


def rendered(template: Template, name: str | None) -> str:
    values: dict[str, Any] = {
        "name": name,
        "officer_name": "Dana Whitfield",
        "company": LENDER.name,
        "number": "(212) 555-0100",
        "nmls_ids": "9900011/9900001",
    }
    return wording.render(template.text, **values)
