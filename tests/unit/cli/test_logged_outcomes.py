"""A logged call is, in the leads service, what the log says: replayed through the pure parts of ingest and leads, no network."""

from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from deploy.local.system import EXAMPLE_DIRECTORY
from schemas.calls import CallFact
from schemas.envelope import Event
from schemas.ids import partition_key
from services.cli.calllog import LoggedCall, LoggedLeg
from services.cli.replaying.webhooks import DialledLeg, Webhook, afterwards, call_sid, voice
from services.ingest.domain.fields import Fields
from services.ingest.domain.lender import Lender
from services.ingest.phone_systems import TWILIO_READERS
from services.leads.domain.call_outcome import add_fact, decided, new_call
from services.leads.domain.model import Call
from services.policy.directory import load_directory

LENDER = Lender(load_directory(EXAMPLE_DIRECTORY))
AT = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
ENDED = AT + timedelta(seconds=25)
BASE = "http://127.0.0.1:8080"
ACCOUNT = "AC" + "0" * 32
CALLER = "+12055550101"


def logged(
    *legs: str, provider: str = "twilio", status: str = "completed", voicemail_s: float = 0.0, talked: bool = False
) -> LoggedCall:
    own = "CA" + "1" * 32 if provider == "twilio" else "1386"
    return LoggedCall(
        provider=provider,
        call_id=own,
        caller=CALLER,
        caller_kind="e164",
        caller_raw=CALLER,
        dialled="+12125550100",
        status=status,
        started_at=AT,
        ended_at=ENDED,
        voicemail=voicemail_s > 0,
        voicemail_s=voicemail_s,
        legs=tuple(
            LoggedLeg(
                leg_id=f"CA{n:032x}" if provider == "twilio" else f"1386:{n}",
                to=f"+1212555016{n}",
                status=leg,
                answered=talked and n == 1,
                started_at=AT,
                answered_at=AT + timedelta(seconds=5) if talked and n == 1 else None,
                ended_at=ENDED,
            )
            for n, leg in enumerate(legs, start=1)
        ),
    )


def called_phones(call: LoggedCall) -> list[DialledLeg]:
    query = urlencode({"call": call_sid(call), "branch": "new-york"})
    leg = f"{BASE}/webhooks/twilio/leg"
    return [
        DialledLeg(
            to=f"+1212555016{n}", screen_url=f"{leg}?step=screen&{query}", status_url=f"{leg}?step=status&{query}"
        )
        for n in (1, 2)
    ]


def outcome_in_leads(call: LoggedCall) -> Literal["answered", "missed", "abandoned"] | None:
    known: Call | None = None
    for hook in (voice(call, BASE, ACCOUNT), *afterwards(call, called_phones(call), BASE, ACCOUNT)):
        for event in events_of(hook):
            known = add_fact(known or new_call(event), event) or known
    assert known is not None
    return decided(known, "after_end", ENDED).outcome


def events_of(hook: Webhook) -> list[Event[CallFact]]:
    url = urlsplit(hook.url)
    reading = TWILIO_READERS[url.path](Fields(hook.form), Fields(dict(parse_qsl(url.query))), LENDER, hook.at)
    return [
        Event(
            id=draft.id,
            data=draft.data,
            source="test",
            time=draft.time,
            key=partition_key("larkspur", CALLER),
            lender_id="larkspur",
            branch_id=draft.branch_id,
            received_at=hook.at,
        )
        for draft in reading.drafts
        if isinstance(draft.data, CallFact)
    ]


@pytest.mark.parametrize("phone_system", ["twilio", "ringcentral"])
@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        ({"legs": ("completed", "canceled"), "talked": True}, "answered"),
        ({"legs": ("no-answer", "no-answer")}, "missed"),
        ({"legs": ("busy", "no-answer")}, "missed"),
        ({"legs": ("no-answer",)}, "missed"),
        ({"legs": ("canceled", "canceled")}, "abandoned"),
        ({"legs": ("completed", "canceled")}, "missed"),
        ({"legs": ("no-answer",), "voicemail_s": 8.0}, "missed"),
        ({"legs": (), "status": "completed"}, "missed"),
        ({"legs": (), "status": "no-answer"}, "missed"),
        ({"legs": (), "status": "busy"}, "missed"),
        ({"legs": (), "status": "canceled"}, "abandoned"),
    ],
    ids=[
        "somebody talked", "phones rang out", "busy and rang out", "one logged leg rang out", "caller gave up",
        "carrier's voicemail", "voicemail", "judged missed", "no legs, no answer", "no legs, busy", "no legs, canceled",
    ],
)  # fmt: skip
def test_logged_call_is_decided_as_the_log_says(call: dict[str, object], outcome: str, phone_system: str) -> None:
    """Facts A4, A8, Q1: a no-answer is not a hang-up, and a carrier's voicemail that picks up is nobody of ours."""
    more = dict(call)
    legs = more.pop("legs")
    assert isinstance(legs, tuple)
    assert outcome_in_leads(logged(*legs, provider=phone_system, **more)) == outcome  # type: ignore[arg-type]
