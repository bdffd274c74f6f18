"""The topics as code: names, partitions, retention, clean-up. `ringback topics create` makes them, `check` compares them."""

from dataclasses import dataclass, field, replace
from typing import Literal

DAY_MS = 86_400_000
PARTITIONS = 12
"""The same for all: Faust needs it of its source topics, and a caller's partition then has the same number in each."""

SEQUENCER_APP = "ringback-sequencer"
SEQUENCER_TABLE = "callers"
CHANGELOG = f"{SEQUENCER_APP}-{SEQUENCER_TABLE}-changelog"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic."""

    name: str
    retention_days: int = 14
    partitions: int = PARTITIONS
    cleanup: Literal["delete", "compact"] = "delete"
    config: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """The broker's settings of this topic."""
        kept = {"retention.ms": str(self.retention_days * DAY_MS)} if self.cleanup == "delete" else {}
        return {"cleanup.policy": self.cleanup, **kept, **self.config}


_APPENDED = {"message.timestamp.type": "LogAppendTime"}
"""A record's time is the broker's, when it was appended: facts are compared by it, whoever's clock was wrong."""

_SOURCES = (
    Topic("call-events", config=_APPENDED), Topic("replies", config=_APPENDED), Topic("receipts"),
    Topic("leads", 30), Topic("touches", 3), Topic("touch-results"), Topic("sequencer-timers"), Topic("sequencer-ticks"),
)  # fmt: skip

TOPICS: tuple[Topic, ...] = (
    *_SOURCES,
    *(Topic(f"{topic.name}.dlq", 30, 3) for topic in _SOURCES),
    Topic(
        CHANGELOG,
        cleanup="compact",
        # Compacted often: when a partition moves, its new owner reads all of it before it can work.
        config={
            "segment.bytes": str(16 << 20),
            "segment.ms": "600000",
            "min.cleanable.dirty.ratio": "0.1",
            "delete.retention.ms": str(7 * DAY_MS),
        },
    ),
)


def topics_of(group_prefix: str = "", partitions: int = PARTITIONS) -> tuple[Topic, ...]:
    """Return a deployment's topics: the changelog under the deployment's own prefix, dead letters in partitions of their own."""
    return tuple(
        replace(
            topic,
            name=group_prefix + topic.name if topic.name == CHANGELOG else topic.name,
            partitions=partitions if topic.partitions == PARTITIONS else topic.partitions,
        )
        for topic in TOPICS
    )


BY_NAME = {topic.name: topic for topic in TOPICS}


def dead_letter_topic(topic: str) -> str:
    """Return the topic for the events of a topic that cannot be decoded or handled."""
    return f"{topic}.dlq"
