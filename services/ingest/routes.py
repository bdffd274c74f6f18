"""Every route of ingest, each written once: the application serves them, metrics count them, our TwiML names them."""

from typing import Final

VOICE: Final = "/webhooks/twilio/voice"
LEG: Final = "/webhooks/twilio/leg"
DIAL: Final = "/webhooks/twilio/dial"
CALL_STATUS: Final = "/webhooks/twilio/call-status"
RECORDING: Final = "/webhooks/twilio/recording"
TRANSCRIPTION: Final = "/webhooks/twilio/transcription"
SMS: Final = "/webhooks/twilio/sms"
MESSAGE_STATUS: Final = "/webhooks/twilio/message-status"
CALLS: Final = "/webhooks/calls"

TWILIO: Final = (VOICE, LEG, DIAL, CALL_STATUS, RECORDING, TRANSCRIPTION, SMS, MESSAGE_STATUS)
ALL: Final = (*TWILIO, CALLS)

ALWAYS_ANSWERED: Final = (VOICE, LEG, DIAL)
"""A borrower's call must go through: these answer their TwiML even when the event could not be made safe."""
