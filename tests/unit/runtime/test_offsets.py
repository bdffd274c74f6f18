"""Where topics end: one partition without a leader keeps nobody's answer back, and nobody waits without a limit."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata

from services.runtime.clock import monotonic_s
from services.runtime.errors import TransientError
from services.runtime.offsets import Ends

P = [TopicPartition("leads", n) for n in range(4)]


@dataclass
class Client:
    """A client that, as aiokafka's, answers for all partitions or for none."""

    leaderless: set[TopicPartition] = field(default_factory=set)
    asked: list[list[TopicPartition]] = field(default_factory=list)
    start_errors: list[Exception] = field(default_factory=list)
    stops: int = 0

    def __call__(self, **_settings: object) -> "Client":
        return self

    async def start(self) -> None:
        if self.start_errors:
            raise self.start_errors.pop()

    async def stop(self) -> None:
        self.stops += 1

    async def end_offsets(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.asked.append(partitions)
        if self.leaderless & set(partitions):
            await asyncio.Event().wait()
        return {one: 10 + one.partition for one in partitions}

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> Mapping[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)


@dataclass
class Admin:
    """An admin client that answers `found`, or never."""

    found: dict[TopicPartition, OffsetAndMetadata] = field(default_factory=dict)
    answers: bool = True
    closed: int = 0

    def __call__(self, **_settings: object) -> "Admin":
        return self

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        self.closed += 1

    async def list_consumer_group_offsets(
        self, group_id: str, *, partitions: list[TopicPartition]
    ) -> Mapping[TopicPartition, object]:
        if not self.answers:
            await asyncio.Event().wait()
        return self.found


async def test_all_partitions_answer_they_are_asked_in_one_request() -> None:
    client = Client()
    assert await Ends("nowhere:1", make_client=client).of(P) == {one: 10 + one.partition for one in P}
    assert client.asked == [P]


async def test_partition_without_a_leader_is_not_known_and_the_others_are() -> None:
    ends = Ends("nowhere:1", make_client=Client(leaderless={P[1]}))
    began_s = monotonic_s()
    assert await ends.of(P, limit_s=0.4) == {P[0]: 10, P[1]: None, P[2]: 12, P[3]: 13}
    assert monotonic_s() - began_s < 2


async def test_partition_that_did_not_answer_is_asked_alone_and_is_known_once_it_has_a_leader_again() -> None:
    client = Client(leaderless={P[1]})
    ends = Ends("nowhere:1", make_client=client)
    await ends.of(P, limit_s=0.2)
    client.asked.clear()
    assert (await ends.of(P, limit_s=0.2))[P[1]] is None
    assert sorted(client.asked, key=len) == [[P[1]], [P[0], P[2], P[3]]]
    client.leaderless.clear()
    assert (await ends.of(P, limit_s=0.2))[P[1]] == 11


async def test_kafka_away_nothing_is_known_and_the_next_question_connects_again() -> None:
    client = Client(start_errors=[KafkaConnectionError("away")] * 10)
    ends = Ends("nowhere:1", make_client=client)
    assert await ends.of(P) == dict.fromkeys(P)
    assert client.stops > 0
    client.start_errors.clear()
    assert (await ends.of(P))[P[0]] == 10


async def test_offsets_of_another_group_are_known_and_where_it_has_committed_none_that_is_said() -> None:
    admin = Admin(found={P[0]: OffsetAndMetadata(7, ""), P[1]: OffsetAndMetadata(-1, "")})
    assert await Ends("nowhere:1", make_admin=admin).committed("leads", P[:3]) == {P[0]: 7, P[1]: None, P[2]: None}


async def test_coordinator_that_does_not_answer_is_waited_for_no_longer_than_the_limit() -> None:
    admin = Admin(answers=False)
    ends = Ends("nowhere:1", make_admin=admin)
    with pytest.raises(TransientError, match="committed offsets of leads"):
        await ends.committed("leads", P, limit_s=0.05)
    assert admin.closed == 1
    admin.answers = True
    assert await ends.committed("leads", P[:1]) == {P[0]: None}
