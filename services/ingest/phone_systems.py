"""The phone systems that ingest understands: which reader takes each route's webhooks.

A new one is its routes in `routes.py`, its proof of the sender in `adapters/`, and its readers here.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from services.ingest import routes
from services.ingest.domain import twilio_calls, twilio_texts
from services.ingest.domain.fields import Fields
from services.ingest.domain.lender import Lender
from services.ingest.domain.reading import Reading

WebhookReader = Callable[[Fields, Fields, Lender, datetime], Reading]
TWILIO_READERS: Final[Mapping[str, WebhookReader]] = {
    routes.VOICE: twilio_calls.voice,
    routes.LEG: twilio_calls.leg,
    routes.DIAL: twilio_calls.dial,
    routes.CALL_STATUS: twilio_calls.call_status,
    routes.RECORDING: twilio_calls.recording,
    routes.TRANSCRIPTION: twilio_calls.transcription,
    routes.SMS: twilio_texts.sms,
    routes.MESSAGE_STATUS: twilio_texts.message_status,
}
"""By route: form, query, lender and now in; what the webhook says out. `/webhooks/calls` is `domain/reported_calls.py`."""
