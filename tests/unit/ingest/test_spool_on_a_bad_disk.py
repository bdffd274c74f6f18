"""The disk fails, Kafka fails: what is told as safe is safe and stays so, and nothing else is taken for an event."""

import asyncio
import os
from pathlib import Path

import pytest

from schemas.envelope import encode
from schemas.topics import TOPICS
from services.ingest.adapters import kafka as outlet_file
from services.ingest.adapters.kafka import KafkaPart, Outlet
from services.ingest.adapters.spool import Spool
from services.ingest.errors import NotAcknowledged, SpoolRefuses
from services.runtime.errors import TransientError
from services.runtime.health import Health
from services.runtime.producer import KafkaProducer
from tests.infra.clock import FakeClock
from tests.infra.polling import eventually
from tests.unit.ingest.rig import OPEN
from tests.unit.ingest.test_spool import LIMIT_S, BrokenKafka, HangingDisk, draining, reply, spool_in

NOBODY = "127.0.0.1:1"
"""Where nothing listens."""


async def test_event_that_the_disk_does_not_sync_is_refused_and_a_restart_does_not_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an fsync nothing is safe; what it left in the file must not come out of it later."""

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    async with spool_in(tmp_path) as spool:
        await spool.put(encode(reply("safe")))
        with monkeypatch.context() as broken:
            broken.setattr("services.ingest.adapters.spool.os.fdatasync", fails)
            with pytest.raises(SpoolRefuses, match="Input/output error"):
                await spool.put(encode(reply("not safe")))
    async with spool_in(tmp_path) as spool:
        assert spool.depth("replies") == 1


async def test_name_of_a_new_file_is_synced_before_its_first_event_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose name is not on the disk is gone after a crash, with all that is in it."""
    synced: list[str] = []
    really = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        really(fd)

    monkeypatch.setattr("services.ingest.adapters.spool.os.fsync", fsync)
    async with spool_in(tmp_path) as spool:
        await spool.put(encode(reply("first")))
    assert synced == [str(tmp_path.resolve())]


async def test_damaged_record_is_set_aside_with_all_behind_it_and_the_lane_goes_on(tmp_path: Path) -> None:
    kafka = BrokenKafka()
    async with spool_in(tmp_path) as spool:
        await spool.put(encode(reply("before", body="yes")))
        await spool.put(encode(reply("damaged", body="please")))
        [path] = tmp_path.glob("replies.*.spool")
        path.write_bytes(path.read_bytes().replace(b"please", b"plaese"))
        kafka.is_away = False
        async with draining(spool, kafka):
            assert await eventually(lambda: not spool.lanes, why="the lane is empty")
            await spool.put(encode(reply("later", body="yes")))
            assert await eventually(lambda: not spool.lanes, why="the lane is empty again")
    assert kafka.ids("replies") == ["before", "later"]
    [aside] = tmp_path.glob("replies.*.damaged-*")
    assert b"plaese" in aside.read_bytes()


async def test_webhook_gives_up_on_a_disk_that_hangs_at_its_own_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outlet_file.SPOOL_LIMIT_S <= 3, "a webhook's sender waits 15 s, and Kafka has had its second"
    monkeypatch.setattr(outlet_file, "SPOOL_LIMIT_S", 0.05)
    health = Health()
    spool: Spool = HangingDisk(folder=tmp_path, max_bytes=1 << 20, partitions=12, clock=FakeClock(OPEN))
    outlet = Outlet(producer=BrokenKafka(), health=health, limit_s=LIMIT_S, spool=spool)
    async with asyncio.timeout(5):
        with pytest.raises(NotAcknowledged, match="neither Kafka nor the disk"):
            await outlet.emit(reply("hangs"))
    assert "the disk took longer" in health.not_ready["spool"]


async def test_events_stay_in_the_spool_while_sending_them_fails_and_arrive_once_it_does_not(tmp_path: Path) -> None:
    kafka = BrokenKafka()
    async with spool_in(tmp_path) as spool:
        for n in range(5):
            await spool.put(encode(reply(f"r{n}")))
        async with draining(spool, kafka):
            assert await eventually(lambda: any(lane.is_stuck for lane in spool.lanes), why="a send has failed")
            assert spool.depth("replies") == 5
            kafka.is_away = False
            assert await eventually(lambda: not spool.lanes, why="the spool is empty")
    assert kafka.ids("replies") == [f"r{n}" for n in range(5)]


async def test_ingest_with_a_spool_starts_without_kafka_and_one_without_does_not(tmp_path: Path) -> None:
    """Calls must go through while Kafka is away, so whoever can keep their events takes them."""
    async with spool_in(tmp_path) as spool:
        for one in (spool, None):
            outlet = Outlet(producer=BrokenKafka(), health=Health(), limit_s=LIMIT_S, spool=one)
            part = KafkaPart(
                producer=KafkaProducer(bootstrap_servers=NOBODY, client_id="test"),
                bootstrap_servers=NOBODY,
                health=Health(),
                topics=TOPICS[:1],
                outlet=outlet,
                spool=one,
            )
            if one is None:
                with pytest.raises(TransientError):
                    await part.start()
            else:
                await part.start()
                await outlet.emit(reply("kept"))
                assert spool.depth("replies") == 1
            assert not outlet.is_connected
            await part.stop()
