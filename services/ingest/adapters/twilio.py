"""Twilio: whether a webhook is its own, by the official SDK, and our answers in TwiML, by its builders."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from twilio.request_validator import SIGNATURE_SETTINGS_HEADER, RequestValidator, get_signature_algorithm
from twilio.twiml.messaging_response import MessagingResponse
from twilio.twiml.voice_response import Dial, Gather, VoiceResponse

from services.ingest import routes
from services.ingest.domain.reading import HangUp, Ring, Screen, TakeVoicemail
from services.ingest.errors import NotAuthentic
from services.ingest.signing import TWILIO_HEADER

RING_S: Final = 20
VOICEMAIL_S: Final = 120
PRESS_S: Final = 8


class TwilioSignatures:
    """Checks `X-Twilio-Signature` against our public URL; several tokens are live while they rotate."""

    def __init__(self, public_base_url: str, tokens: Sequence[str]) -> None:
        self._base = public_base_url.rstrip("/")
        self._validators = [RequestValidator(token) for token in tokens]

    def check(self, target: str, params: Mapping[str, str] | str, headers: Mapping[str, str]) -> None:
        """Return when the webhook is Twilio's.

        Args:
            target: path and query as they stood on the wire; host and scheme are ours to say.
            params: the form (a multidict keeps repeated names), or the raw body of a JSON webhook.
            headers: the request's.

        Raises:
            NotAuthentic: it is not, or the SDK cannot say.
        """
        signature = headers.get(TWILIO_HEADER, "")
        if not signature:
            raise NotAuthentic("unsigned", f"{TWILIO_HEADER} is missing")
        try:
            algorithm = get_signature_algorithm(headers.get(SIGNATURE_SETTINGS_HEADER, ""))
            is_signed = any(
                validator.validate(self._base + target, params, signature, algorithm) for validator in self._validators
            )
        except Exception as error:  # the SDK raises whatever a hostile request makes it run into
            raise NotAuthentic("bad_signature", "the signature does not fit") from error
        if not is_signed:
            raise NotAuthentic("bad_signature", "the signature does not fit")


class Twiml:
    """Our answers to Twilio. Every URL in them carries branch and call, never a number."""

    def __init__(self, public_base_url: str, retry: str, company: str) -> None:
        self._base, self._retry, self._company = public_base_url.rstrip("/"), retry, company
        self.nothing_to_text = str(MessagingResponse())
        self.go_on = str(VoiceResponse())

    def _url(self, route: str, **query: str | None) -> str:
        found = {name: value for name, value in query.items() if value}
        return f"{self._base}{route}?{urlencode(found)}{self._retry}"

    def voice(self, instruction: Ring | TakeVoicemail | Screen | HangUp) -> str:
        """Return an answer to a voice webhook."""
        response = VoiceResponse()
        match instruction:
            case Ring(call, branch, officers):
                dial = Dial(
                    answer_on_bridge=True,
                    timeout=RING_S,
                    action=self._url(routes.DIAL, call=call, branch=branch),
                    method="POST",
                )
                for officer, phone in officers:
                    known = {"call": call, "branch": branch, "officer": officer}
                    dial.number(
                        phone,
                        url=self._url(routes.LEG, step="screen", **known),
                        method="POST",
                        status_callback=self._url(routes.LEG, step="status", **known),
                        status_callback_event="completed",
                        status_callback_method="POST",
                    )
                response.append(dial)
            case TakeVoicemail(call, branch, closed):
                why = "We are closed right now." if closed else "All of our loan officers are helping other callers."
                response.say(
                    f"Thank you for calling {self._company}. {why} "
                    "Please leave a message after the tone, and a loan officer will call you back."
                )
                response.record(
                    max_length=VOICEMAIL_S,
                    play_beep=True,
                    transcribe=True,
                    action=self._url(routes.RECORDING, step="after", call=call, branch=branch),
                    method="POST",
                    recording_status_callback=self._url(routes.RECORDING, call=call, branch=branch),
                    recording_status_callback_event="completed",
                    recording_status_callback_method="POST",
                    transcribe_callback=self._url(routes.TRANSCRIPTION, call=call, branch=branch),
                )
                response.hangup()
            case Screen(call, branch, officer_id):
                gather = Gather(
                    num_digits=1,
                    timeout=PRESS_S,
                    method="POST",
                    action=self._url(routes.LEG, step="pressed", call=call, branch=branch, officer=officer_id),
                )
                gather.say(f"A call for {self._company}. Press 1 to take it.")
                response.append(gather)
                response.hangup()  # nobody pressed: a carrier's voicemail, which must not get the call
            case HangUp():
                response.hangup()
        return str(response)
