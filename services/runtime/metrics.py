"""Every metric that several services share, each with kind, unit and meaning."""

from prometheus_client import Counter, Gauge, Histogram

EVENTS_CONSUMED = Counter("ringback_events_consumed_total", "Events finished, by outcome.", ["topic", "outcome"])
EVENTS_IGNORED = Counter(
    "ringback_events_ignored_total", "Events that changed nothing, by reason; duplicates are normal.", ["topic", "why"]
)
EVENT_SECONDS = Histogram(
    "ringback_event_processing_seconds", "Time from an event's delivery to its end.", ["topic"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)  # fmt: skip
DEAD_LETTERS = Counter("ringback_dead_letters_total", "Events put into a dead-letter topic.", ["topic"])
LAG = Gauge("ringback_consumer_lag_records", "Records not yet finished.", ["topic", "group"])
ROUND_FAILURES = Counter("ringback_round_failures_total", "Periodic rounds, and items in them, that failed.", ["round"])
PRODUCERS_REPLACED = Counter(
    "ringback_producers_replaced_total", "Kafka clients given up after an error that they do not retry themselves."
)
