"""Every event ends as applied, ignored or dead-lettered, and the reason for ignoring one is counted."""

from prometheus_client import REGISTRY

from services.runtime.handled import APPLIED, DEAD_LETTERED, OUTCOMES, count, ignored


def counted(topic: str, why: str) -> float:
    return REGISTRY.get_sample_value("ringback_events_ignored_total", {"topic": topic, "why": why}) or 0.0


def consumed(topic: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("ringback_events_consumed_total", {"topic": topic, "outcome": outcome}) or 0.0


def test_ignored_event_is_counted_by_topic_and_reason() -> None:
    count("handled-a", ignored("duplicate"))
    count("handled-a", ignored("duplicate"))
    count("handled-b", ignored("no_lead"))
    assert counted("handled-a", "duplicate") == 2
    assert counted("handled-b", "no_lead") == 1
    assert consumed("handled-a", "ignored") == 2


def test_applied_and_dead_lettered_events_count_as_consumed_and_not_as_ignored() -> None:
    count("handled-c", APPLIED)
    count("handled-c", DEAD_LETTERED)
    assert {outcome: consumed("handled-c", outcome) for outcome in OUTCOMES} == {
        "applied": 1,
        "ignored": 0,
        "dead_lettered": 1,
    }
    assert counted("handled-c", "") == 0
