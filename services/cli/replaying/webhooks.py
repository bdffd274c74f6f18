"""What Twilio would have sent for a logged call. Pure: a call and the TwiML that ingest answered in, webhooks out."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urldefrag, urlencode
from xml.etree import ElementTree

from services.cli.calllog import LoggedCall, LoggedLeg

KEY_AFTER = timedelta(seconds=1.5)
"""How long an officer takes to press the key, so that an answered leg is known before the talk is over."""
TRANSCRIBED_AFTER = timedelta(seconds=20)

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Webhook:
    """One request of the phone system. `decides`: it may cause a text, so a replay waits until that is done."""

    at: datetime
    n: int
    url: str = field(compare=False)
    form: Form = field(compare=False)
    decides: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class DialledLeg:
    """One `<Number>` of our TwiML."""

    to: str
    screen_url: str
    status_url: str


def dialled_legs(twiml: str) -> tuple[DialledLeg, ...]:
    """Return the legs that our answer to the voice webhook calls; none when it goes straight to voicemail."""
    root = ElementTree.fromstring(twiml)  # noqa: S314  # our own answer
    return tuple(
        # A fragment asks Twilio for retries (`#rc=5&rp=all`); it is neither sent nor signed.
        DialledLeg(
            to=(number.text or "").strip(),
            screen_url=urldefrag(number.get("url", "")).url,
            status_url=urldefrag(number.get("statusCallback", "")).url,
        )
        for number in root.iter("Number")
    )


def sid(prefix: str, *parts: str) -> str:
    """Return an id as Twilio writes them, always the same for the same parts."""
    return prefix + hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def as_sid(provider: str, own_id: str) -> str:
    """Return a call's or leg's id as it stands where it is one of Twilio's, else one made from it."""
    return own_id if re.fullmatch("CA[0-9a-fA-F]{32}", own_id) else sid("CA", provider, own_id)


def _parties(call: LoggedCall, account: str) -> dict[str, str]:
    return {
        "CallSid": call_sid(call),
        "AccountSid": account,
        "From": call.caller_raw,
        "To": call.dialled,
        "Caller": call.caller_raw,
        "Called": call.dialled,
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
    }


def call_sid(call: LoggedCall) -> str:
    """Return the call's id as Twilio would write it."""
    return as_sid(call.provider, call.call_id)


def voice(call: LoggedCall, base: str, account: str) -> Webhook:
    """Return the request that opens a call."""
    return Webhook(
        at=call.started_at,
        n=0,
        url=f"{base}/webhooks/twilio/voice",
        form={**_parties(call, account), "CallStatus": "ringing"},
    )


def afterwards(call: LoggedCall, twiml_legs: Sequence[DialledLeg], base: str, account: str) -> list[Webhook]:
    """Return everything Twilio sends after `voice`, in the order of its time.

    The log says what happened; our TwiML says how many phones were called. Phones that the log does not mention shared
    the fate of the others. A logged leg that our TwiML does not call (the branch was closed) is told too, because it
    happened.
    """
    parties = _parties(call, account)
    hooks: list[Webhook] = []
    legs = list(_legs(call, twiml_legs, base))

    def add(at: datetime, path: str, form: Form, *, decides: bool = False) -> None:
        url = path if path.startswith("http") else f"{base}{path}"
        hooks.append(Webhook(at=max(at, call.started_at), n=len(hooks) + 1, url=url, form=form, decides=decides))

    for leg, dialled in legs:
        own = {
            **parties,
            "CallSid": as_sid(call.provider, leg.leg_id),
            "ParentCallSid": call_sid(call),
            "To": dialled.to,
            "Called": dialled.to,
            "Direction": "outbound-dial",
        }
        if leg.answered and leg.answered_at is not None:
            pressed = dialled.screen_url.replace("step=screen", "step=pressed")
            add(leg.answered_at, dialled.screen_url, {**own, "CallStatus": "in-progress"})
            add(
                min(leg.answered_at + KEY_AFTER, leg.ended_at),
                pressed,
                {**own, "CallStatus": "in-progress", "Digits": "1"},
            )
        add(
            leg.ended_at,
            dialled.status_url,
            {
                **own,
                "CallStatus": leg.status,
                "CallDuration": str(int(leg.talk_s)),
                "Timestamp": format_datetime(leg.ended_at),
            },
        )
    if legs and not call.hung_up_ringing:  # the action URL is never asked for once the caller is gone
        best = next((leg for leg, _ in legs if leg.answered), legs[0][0])
        add(
            best.ended_at,
            "/webhooks/twilio/dial",
            {
                **parties,
                "CallStatus": "in-progress",
                "DialCallSid": as_sid(call.provider, best.leg_id),
                "DialCallStatus": best.status,
                "DialCallDuration": str(int(best.talk_s)),
                "DialBridged": str(best.answered).lower(),
            },
        )
    add(
        call.ended_at,
        "/webhooks/twilio/call-status",
        {
            **parties,
            "CallStatus": call.status if call.status in ("busy", "failed", "no-answer", "canceled") else "completed",
            "CallDuration": str(int(call.duration_s)),
            "Timestamp": format_datetime(call.ended_at),
        },
        decides=not call.answered,
    )
    if call.voicemail:
        recording = {
            "AccountSid": account,
            "CallSid": call_sid(call),
            "RecordingSid": sid("RE", call.call_id),
            "RecordingUrl": f"https://recordings.example/{sid('RE', call.call_id)}",
        }
        query = urlencode({"call": call_sid(call)})
        add(
            call.ended_at,
            f"/webhooks/twilio/recording?{query}",
            {**recording, "RecordingStatus": "completed", "RecordingDuration": str(int(call.voicemail_s))},
            decides=True,
        )
        if call.transcript:
            add(
                call.ended_at + TRANSCRIBED_AFTER,
                f"/webhooks/twilio/transcription?{query}",
                {
                    **recording,
                    "TranscriptionSid": sid("TR", call.call_id),
                    "TranscriptionStatus": "completed",
                    "TranscriptionText": call.transcript,
                },
                decides=True,
            )
    return sorted(hooks)


def _legs(call: LoggedCall, dialled: Sequence[DialledLeg], base: str) -> Iterator[tuple[LoggedLeg, DialledLeg]]:
    unused = list(dialled)
    for leg in call.legs:
        match = next((item for item in unused if item.to == leg.to), unused[0] if unused else None)
        if match is not None:
            unused.remove(match)
        query = urlencode({"call": call_sid(call)})
        yield (
            leg,
            match
            or DialledLeg(
                to=leg.to or call.dialled,
                screen_url=f"{base}/webhooks/twilio/leg?step=screen&{query}",
                status_url=f"{base}/webhooks/twilio/leg?step=status&{query}",
            ),
        )
    if not unused:
        return
    answered = next((leg for leg in call.legs if leg.answered), None)
    for item in unused:
        if answered is not None and answered.answered_at is not None:
            fate, until = "canceled", answered.answered_at  # the others stop ringing once one person has the call
        elif call.hung_up_ringing:
            fate, until = "canceled", call.ended_at
        else:
            fate, until = "no-answer", call.started_at + timedelta(seconds=call.ring_s)
        leg = LoggedLeg(
            leg_id=sid("CA", call.call_id, item.to),
            to=item.to,
            status=fate,
            answered=False,
            started_at=call.started_at,
            answered_at=None,
            ended_at=until,
        )
        yield leg, item
