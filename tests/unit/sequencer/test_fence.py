"""The fence's own parts, without a broker: the lease and the pins."""

import asyncio
from pathlib import Path
from typing import Any, NoReturn

import pytest

from services.runtime.exits import EXIT_CONFIGURATION
from services.sequencer.__main__ import fence_settings, sequence
from services.sequencer.adapters.fence import UntestedVersion, check_pins
from services.sequencer.adapters.fence.lease import Lease, watch_membership
from services.sequencer.adapters.fence.pins import SOURCES, VERSIONS
from services.sequencer.settings import SequencerSettings


class Ended(Exception):
    """Stands for the end of the process."""


def end(why: str, code: int) -> NoReturn:
    raise Ended(f"{code}: {why}")


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def lease(time: Time) -> Lease:
    return Lease(10.0, 60.0, clock=time, end=end)


def test_lease_before_any_join_allows_nothing(lease: Lease) -> None:
    with pytest.raises(Ended):
        lease.check("event")


def test_lease_counts_from_the_sending_of_the_answered_heartbeat(lease: Lease, time: Time) -> None:
    lease.joined(100.0)
    time.now = 108.4
    lease.check("event")
    lease.answered(101.0, rebalancing=False)  # sent before a pause, answered after it
    time.now = 109.4
    lease.check("event")
    time.now = 109.6
    with pytest.raises(Ended):
        lease.check("event")


def test_lease_in_a_rebalance_ends_with_its_time_out_however_many_heartbeats(lease: Lease, time: Time) -> None:
    lease.joined(100.0)
    for second in range(101, 151):
        time.now = float(second)
        lease.answered(time.now, rebalancing=True)
        lease.check("write")
    time.now = 151.1  # 0.85 of 60 s after the last heartbeat that knew of no rebalance
    lease.answered(time.now, rebalancing=True)
    with pytest.raises(Ended):
        lease.check("write")
    lease.joined(time.now)
    lease.check("write")


def test_worker_that_has_handed_in_its_partitions_may_write_nothing(lease: Lease) -> None:
    lease.joined(100.0)
    lease.handed_in()
    with pytest.raises(Ended):
        lease.check("write")


def test_worker_put_out_of_the_group_ends_unless_it_is_leaving(lease: Lease) -> None:
    lease.lost()  # never joined: nothing to lose
    lease.joined(100.0)
    with pytest.raises(Ended):
        lease.lost()
    lease.closing()
    lease.lost()


@pytest.mark.parametrize(("age", "code"), [(5.0, 78), (3600.0, 71)], ids=["the newer", "the older"])
def test_newer_of_two_workers_of_one_name_ends_as_configuration_with_the_name(
    time: Time, age: float, code: int
) -> None:
    lease = Lease(10.0, 60.0, instance="pod-3", clock=time, end=end)
    lease.joined(time.now)
    time.now += age
    lease.answered(time.now, rebalancing=False)
    with pytest.raises(Ended, match=f"{code}: another worker has the name 'pod-3'"):
        lease.lost()


def test_named_worker_whose_session_ran_out_is_no_clash_of_names(time: Time) -> None:
    lease = Lease(10.0, 60.0, instance="pod-3", clock=time, end=end)
    lease.joined(time.now)
    time.now += 15
    with pytest.raises(Ended, match="71: the group has put this worker out"):
        lease.lost()


class SyncGroupRequest:
    """Named as aiokafka's."""


class Coordinator:
    """What of aiokafka's coordinator the lease watches."""

    def __init__(self, time: Time) -> None:
        self.time, self.answer = time, True
        self._rejoin_needed_fut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def _do_heartbeat(self) -> bool:
        self.time.now += 3.0  # the answer takes long
        return self.answer

    async def _do_rejoin_group(self, subscription: Any) -> bool:
        await self._send_req(SyncGroupRequest())
        self.time.now += 1.0
        await self._on_join_complete()
        return True

    async def _send_req(self, request: Any) -> None: ...

    async def _on_join_complete(self) -> None: ...

    def reset_generation(self) -> None: ...


async def test_coordinator_tells_the_lease_of_joins_heartbeats_and_loss(lease: Lease, time: Time) -> None:
    coordinator = Coordinator(time)
    watch_membership(coordinator, lease)
    await coordinator._do_rejoin_group(None)
    assert lease.left_s() == pytest.approx(7.5)
    await coordinator._do_heartbeat()
    assert lease.left_s() == pytest.approx(5.5)
    coordinator.answer = False
    await coordinator._do_heartbeat()
    assert lease.left_s() == pytest.approx(2.5)
    with pytest.raises(Ended):
        coordinator.reset_generation()


@pytest.mark.parametrize(("named", "instance"), [(None, None), ("pod-3", "pod-3"), ("0", "0")])
def test_worker_is_a_named_member_of_the_group_only_where_somebody_named_it(
    named: str | None, instance: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RINGBACK_INSTANCE", raising=False)
    if named is not None:
        monkeypatch.setenv("RINGBACK_INSTANCE", named)
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    assert fence_settings(SequencerSettings.load(), Path("unused")).instance == instance


def test_installed_sources_are_the_tested_ones() -> None:
    check_pins()


def test_other_version_or_source_is_refused_by_name() -> None:
    name = next(iter(SOURCES))
    with pytest.raises(UntestedVersion, match=name.partition(":")[0]):
        check_pins(VERSIONS, {name: "0" * 16})
    with pytest.raises(UntestedVersion, match=r"faust-streaming is 0\.15\.3"):
        check_pins({"faust-streaming": "0.15.4"}, {})
    with pytest.raises(UntestedVersion, match="no_such_function"):
        check_pins({}, {"faust.streams:Stream.no_such_function": ""})


def test_installation_that_was_not_tested_ends_the_sequencer_with_78_and_a_line_for_each_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Starting it again does not help; a traceback would say less."""
    monkeypatch.setenv("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")

    def differs() -> NoReturn:
        raise UntestedVersion(["faust-streaming is 0.15.4, tested with 0.15.3", "source of x is 1, tested with 2"])

    monkeypatch.setattr("services.sequencer.adapters.fence.worker.check_pins", differs)
    with pytest.raises(SystemExit) as ended:
        asyncio.run(sequence(SequencerSettings.load()))
    assert ended.value.code == EXIT_CONFIGURATION
    assert capsys.readouterr().err.splitlines() == [
        "installed packages: faust-streaming is 0.15.4, tested with 0.15.3",
        "installed packages: source of x is 1, tested with 2",
    ]
