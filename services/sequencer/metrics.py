"""Every metric of the sequencer and its timekeeper."""

from prometheus_client import Counter, Gauge, Histogram

DECISIONS = Counter(
    "ringback_sequencer_decisions_total", "Events decided on, by type and the caller's phase after them.",
    ["event", "phase"],
)  # fmt: skip
RECOVERIES = Gauge("ringback_sequencer_recoveries", "How often this worker has rebuilt its rows from the changelog.")
TIMERS_SET = Counter(
    "ringback_timers_set_total", "Timers read, by outcome: new (again after it fired), or known.", ["outcome"]
)
TIMERS_FIRED = Counter("ringback_timers_fired_total", "Ticks acknowledged by the broker.")
TIMERS_REARMED = Counter("ringback_timers_rearmed_total", "Local times that had moved later when they fired.")
TIMER_LATE_SECONDS = Histogram(
    "ringback_timer_late_seconds", "Virtual time from a timer's due instant to its tick's acknowledgement.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 600),
)  # fmt: skip
