"""The topics as code: names, partitions, retention, clean-up. `ringback topics create | check` applies and checks it."""

from dataclasses import dataclass, field, replace
from typing import Literal

DAY_MS = 86_400_000
PARTITIONS = 12
"""All of them alike: Faust needs its source topics equal, and one caller is then one partition number everywhere."""

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


_SOURCES = (
    Topic("call-events"), Topic("replies"), Topic("receipts"), Topic("leads", 30), Topic("touches", 3),
    Topic("touch-results"), Topic("sequencer-timers"), Topic("sequencer-ticks"),
)  # fmt: skip

TOPICS: tuple[Topic, ...] = (
    *_SOURCES,
    *(Topic(f"{topic.name}.dlq", 30, 3) for topic in _SOURCES),
    Topic(
        CHANGELOG,
        cleanup="compact",
        # Compacted often, because a partition that moves is read whole before its new owner may work.
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
    """Return where a topic's undecodable and impossible events go."""
    return f"{topic}.dlq"
