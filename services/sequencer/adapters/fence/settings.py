"""What the fence must be told; what it can find out by itself is not in here."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceSettings:
    """One worker of one app. Every worker of an app has the same settings but for `instance` and `data_dir`."""

    app_id: str
    """Consumer group, and the prefix of the changelog topic. Never reused for other topics or partition counts."""

    topics: tuple[str, ...]
    """The source topics: equal partition counts, one key function, plain (not compacted, not transactional)."""

    table: str
    """Name of the one table; its changelog is `<app_id>-<table>-changelog`."""

    instance: str | None
    """Stable name of this worker (the pod's), unique in the group: a restart within the session moves no partition. None: no
    name; the worker leaves the group when it stops, and any number of them may run."""

    data_dir: Path
    """Ephemeral directory of this worker alone; wiped at start."""

    bootstrap_servers: str = "127.0.0.1:9092"

    session_timeout_s: float = 10.0
    """After this long without a heartbeat the broker gives our partitions away; the lease ends earlier."""

    rebalance_timeout_s: float = 60.0
    """How long the group waits for a member to hand in what it has under way."""

    window: int = 256
    """Most events of one partition decided on and not yet acknowledged by the broker."""

    waiting: int = 1024
    """With so many events of a partition in line for its window, no more are fetched; about as many may still come."""

    commit_interval_s: float = 1.0
    """How often finished offsets are committed; what a crash repeats at most."""

    linger_ms: int = 5
    """How long a batch of sends waits for more: one event waits as long, and thousands a second become cheap."""

    request_timeout_s: float = 30.0
    """How long one request to the broker may take."""

    settle_limit_s: float = 5.0
    """How long a rebalance or a stop waits for a partition of the broker that takes nothing."""

    library_log_level: str = "WARNING"
    """Level of the aiokafka, faust and mode loggers; at DEBUG a seventh of the time goes into log records nobody reads."""

    @property
    def changelog_topic(self) -> str:
        """Name of the table's changelog topic, to be created by whoever creates topics."""
        return f"{self.app_id}-{self.table}-changelog"
