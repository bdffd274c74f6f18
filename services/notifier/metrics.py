"""Every metric of the notifier; labels only from closed sets."""

from prometheus_client import Counter, Gauge, Histogram

FIRST_TEXT_SECONDS = Histogram(
    "ringback_first_text_seconds",
    "Call end to the provider's acceptance of the first text, in business (virtual) time. The one that matters most.",
    buckets=(0.25, 0.5, 1, 2, 5, 10, 15, 30, 45, 60, 120, 300, 900),
)
WEBHOOK_TO_TEXT_SECONDS = Histogram(
    "ringback_webhook_to_text_seconds",
    "Deciding webhook received to the first text's request at the provider, in real time.",
    buckets=(0.01, 0.02, 0.03, 0.045, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 2, 5, 10, 60),
)
PROVIDER_SECONDS = Histogram(
    "ringback_provider_request_seconds",
    "One request to the provider, whatever its outcome, in real time.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
MESSAGES = Counter(
    "ringback_messages_total", "Texts by what became of them; `template` is a family.", ["template", "outcome"]
)
SUPPRESSED = Counter("ringback_suppressed_total", "Texts that a gate stopped, by reason.", ["reason"])
SEGMENTS = Counter("ringback_segments_total", "Segments of accepted texts: what the carrier bills.", ["template"])
PROVIDER_OUTCOMES = Counter(
    "ringback_provider_outcomes_total",
    "Requests to the provider, by what is known of the text afterwards.",
    ["outcome"],
)
UNDELIVERED = Counter(
    "ringback_undelivered_total",
    "Accepted texts that the carrier did not deliver, by what its code means (`services/notifier/domain/twilio_codes.py`).",
    ["why"],
)
HELD = Counter("ringback_gate_held_total", "Texts put back because the gate could not decide.", ["why"])
DEFECTS = Counter(
    "ringback_delivery_failures_total",
    "Attempts at a text that ended in an error of ours; each is tried again until it expires and becomes a task.",
)
IGNORED = Counter("ringback_delivery_ignored_total", "Facts that changed no delivery, by reason.", ["why"])
TAIL_AGE_SECONDS = Gauge("ringback_replies_tail_age_seconds", "Real seconds since the tail was known to be at the end.")
UNDER_WAY = Gauge("ringback_deliveries_under_way", "Texts that this instance is working on.")
