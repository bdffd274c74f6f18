"""The ingest service: phone systems and carriers tell it what happened.

Consumes: signed webhooks. Twilio's under `/webhooks/twilio/` (`voice`, `leg`, `dial`, `call-status`, `recording`,
`transcription`, `sms`, `message-status`), and `/webhooks/calls` for every system that can report a whole call as
`call.completed` JSON.

Keeps: nothing but the spool, a folder of events that Kafka has not taken yet.

Emits: `call-events` (one fact a webhook), `replies`, `receipts`.

Promises:

- It answers 2xx only once the event is safe: Kafka has acknowledged it, or, where Kafka has not within
  `RINGBACK_ACK_LIMIT_S`, it is fsynced in the spool. Otherwise it answers 503, and the sender tries again. The TwiML asks
  Twilio to do so (`#rc=5&rp=all`): by itself Twilio gives up on a 503.
- A call goes through whatever is away: `/voice`, `/leg` and `/dial` answer their TwiML within two seconds, and an event that
  could not be made safe is counted.
- Events of one topic and partition reach Kafka in the order in which they came.
- The same webhook makes the same event id every time, so that a repetition changes nothing downstream.
- It reads nothing from a webhook whose signature does not fit. The URL that a signature covers starts with
  `RINGBACK_PUBLIC_BASE_URL`; `Host` and `X-Forwarded-*` are never read.
- Bad input gets a 4xx with JSON, `{"error": {"reason", "field", "message"}}`, and is counted; nothing else happens.
- It decides nothing about a call. A call from a withheld or unusable number is an event like any other.

How a call looks to Twilio. `/voice` answers with a `<Dial>` of every officer of the branch who is on shift by the
directory. Each leg is screened: whoever picks up hears "press 1", and only that key press is `call.leg_answered`,
because a carrier's voicemail picks up too but presses nothing. When the `<Dial>` ends unanswered, `/dial` answers with a
voicemail. A closed branch takes the voicemail at once. In Twilio's console a number gets `/voice` as its Voice URL,
`/call-status` as its status callback (nothing else reports a caller who hangs up before an officer answers) and `/sms`
as its messaging URL, each followed by `#rc=5&rp=all`.

`reconcile/` is a process of its own: it finds in the provider's lists what webhooks missed.

`signing.py` signs webhooks as their senders do, for the replayer, the sandbox, tests and benchmarks.
"""
