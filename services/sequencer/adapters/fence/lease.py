"""The lease: proof, by our own clock, that the group still counts us as the owner of our partitions.

A worker that is paused for longer than its session loses its partitions. When it wakes up it would finish what it had in
hand: its rows would go to the end of the changelog, after newer ones, and win at the next recovery. Offsets cannot show
that. So the lease notes when each heartbeat was *sent* that the coordinator then answered, on a clock that counts sleep.
Before each event and each write to a broker, that moment must be less than 0.85 of the session ago. A successful answer
proves that nobody else had the partitions before it, because any change of members would have ended our generation.

While a rebalance is announced, the coordinator keeps us for the rebalance time-out, counted from the last heartbeat
that knew of none. Between handing in the partitions (join) and the next generation nothing is ours: no event, no write.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from services.runtime.clock import boottime_s
from services.runtime.exits import EXIT_CONFIGURATION, EXIT_LEASE_LOST
from services.runtime.hard_end import end_process

SHARE = 0.85
"""Part of the session: the rest is for clocks that differ in rate and for the way to the broker."""


CLASH_S = 60.0
"""Put out so soon after its start, with its session kept, a named worker is the newer of two of one name."""


def _end(why: str, code: int = EXIT_LEASE_LOST) -> NoReturn:
    end_process(code, why)


class Lease:
    """Says until when we may act. Written by the consumer's thread, read by the worker's; single floats, so no lock."""

    def __init__(
        self,
        session_s: float,
        rebalance_s: float,
        *,
        instance: str | None = None,
        clock: Callable[[], float] = boottime_s,
        end: Callable[[str, int], NoReturn] = _end,
    ) -> None:
        self._instance, self._first_joined = instance, math.inf
        self._session_s, self._rebalance_s, self._clock, self._end = session_s, rebalance_s, clock, end
        self._answered = -math.inf
        self._rebalance_by = math.inf
        self._until = -math.inf
        self._held = False
        self._closing = False

    def now(self) -> float:
        """Return the lease's clock."""
        return self._clock()

    def joined(self, sent: float) -> None:
        """Note that a join completed whose last request was sent at `sent`."""
        self._held = True
        self._first_joined = min(self._first_joined, self._clock())
        self._rebalance_by = math.inf
        self._extend(sent)

    def answered(self, sent: float, *, rebalancing: bool) -> None:
        """Note a heartbeat sent at `sent` that the coordinator answered without error."""
        if rebalancing and self._rebalance_by == math.inf:
            self._rebalance_by = self._answered + SHARE * self._rebalance_s
        self._extend(sent)

    def _extend(self, sent: float) -> None:
        self._answered = sent
        self._until = min(sent + SHARE * self._session_s, self._rebalance_by)

    def handed_in(self) -> None:
        """Note that we ask for a new assignment: until we have one, nothing is ours."""
        self._until = -math.inf

    def lost(self) -> None:
        """Note that the group does not know us any more."""
        if not self._held or self._closing:
            return
        if self._instance is None or self.left_s() <= 0:
            self._end("the group has put this worker out", EXIT_LEASE_LOST)
        # The session is kept, and yet we are out: somebody has joined under our name. The older one comes back and so
        # finds the newer one, which must not come back.
        newer = self._clock() - self._first_joined < CLASH_S
        self._end(
            f"another worker has the name {self._instance!r}: give each its own RINGBACK_INSTANCE, or none",
            EXIT_CONFIGURATION if newer else EXIT_LEASE_LOST,
        )

    def closing(self) -> None:
        """Note that we leave on purpose; from here on being unknown to the group is no accident."""
        self._closing = True

    def left_s(self) -> float:
        """Return how long the lease still holds; not positive when it has ended."""
        return self._until - self._clock()

    def check(self, what: str) -> None:
        """Return only if `what` may be done now; else end the process."""
        if self._clock() >= self._until:
            self._end(f"lease ran out {-self.left_s():.3f} s before: {what}", EXIT_LEASE_LOST)


def watch_membership(coordinator: Any, lease: Lease) -> None:
    """Make one aiokafka `GroupCoordinator` tell the lease what the group says about us."""
    heartbeat: Callable[[], Awaitable[bool]] = coordinator._do_heartbeat
    rejoin: Callable[[Any], Awaitable[bool]] = coordinator._do_rejoin_group
    reset: Callable[[], None] = coordinator.reset_generation

    async def do_heartbeat() -> bool:
        sent = lease.now()
        answered = await heartbeat()
        if answered:
            # aiokafka answers "rebalancing" with True too, after having asked for a rejoin.
            lease.answered(sent, rebalancing=coordinator._rejoin_needed_fut.done())
        return answered

    async def do_rejoin_group(subscription: Any) -> bool:
        lease.handed_in()
        return await rejoin(subscription)

    def reset_generation() -> None:
        lease.lost()
        reset()

    complete: Callable[..., Awaitable[None]] = coordinator._on_join_complete

    async def on_join_complete(*args: Any) -> None:
        lease.joined(coordinator.fence_synced_at)
        await complete(*args)

    send: Callable[[Any], Awaitable[Any]] = coordinator._send_req

    async def send_req(request: Any) -> Any:
        # The last request before a join completes is the SyncGroup: the broker starts our session when it answers it.
        if type(request).__name__.startswith("SyncGroup"):
            coordinator.fence_synced_at = lease.now()
        return await send(request)

    coordinator.fence_synced_at = -math.inf
    coordinator._do_heartbeat = do_heartbeat
    coordinator._do_rejoin_group = do_rejoin_group
    coordinator.reset_generation = reset_generation
    coordinator._on_join_complete = on_join_complete
    coordinator._send_req = send_req


def watch_writes(producer: Any, lease: Lease) -> None:
    """Make one started `AIOKafkaProducer` check the lease where a batch is about to be written to the socket."""
    sender = producer._sender
    write: Callable[[Any, Any], Awaitable[None]] = sender._send_produce_req

    async def send_produce_req(node_id: Any, batches: Any) -> None:
        # Connecting may take long; it comes before the check, so that nothing is awaited between check and write.
        await sender.client.ready(node_id)
        lease.check("write to the broker")
        await write(node_id, batches)

    sender._send_produce_req = send_produce_req
