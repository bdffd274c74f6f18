"""What Kafka's client raises when sending becomes ours: wait, refuse the record, or end the process."""

import asyncio
import contextlib
import inspect
from types import SimpleNamespace

import pytest
from aiokafka import errors as kafka

from schemas.envelope import Wire
from services.runtime import idempotent_client
from services.runtime import producer as producing
from services.runtime.errors import PermanentError, ProcessMustEnd, TransientError
from services.runtime.producer import FakeProducer, KafkaProducer
from services.runtime.producer_errors import ERRORS, RecordRefused, kind_of
from tests.infra.polling import eventually

NEVER_WHEN_SENDING = {
    # groups and offsets
    "CommitFailedError", "GroupAuthorizationFailedError", "GroupIdNotFound", "IllegalGenerationError",
    "InconsistentGroupProtocolError", "InvalidCommitOffsetSizeError", "InvalidGroupIdError",
    "InvalidSessionTimeoutError", "MemberIdRequired", "NonEmptyGroup", "OffsetMetadataTooLargeError",
    "RebalanceInProgressError", "UnknownMemberIdError",
    # fetching
    "FetchSessionIdNotFound", "InvalidFetchRequestError", "InvalidFetchSessionEpoch", "NoOffsetForPartitionError",
    "OffsetOutOfRangeError",
    # administration
    "InvalidConfigurationError", "InvalidPartitionsError", "InvalidPrincipalType", "InvalidReplicationAssignmentError",
    "InvalidReplicationFactorError", "ListenerNotFound", "LogDirNotFound", "OperationNotAttempted",
    "ReassignmentInProgress", "StaleControllerEpochError", "StaleLeaderEpochCodeError", "TopicAlreadyExistsError",
    "DelegationTokenAuthDisabled", "DelegationTokenAuthorizationFailed", "DelegationTokenExpired",
    "DelegationTokenNotFound", "DelegationTokenOwnerMismatch", "DelegationTokenRequestNotAllowed",
    # transactions
    "ConcurrentTransactions", "InvalidTransactionTimeout", "InvalidTxnState", "TransactionCoordinatorFenced",
    "TransactionalIdAuthorizationFailed",
    # the client's own use, and what it takes for success
    "DuplicateSequenceNumber", "IllegalArgumentError", "IllegalStateError", "KafkaConfigurationError", "NoError",
    "UnsupportedCodecError",
    # roots
    "BrokerResponseError", "KafkaError",
}  # fmt: skip
"""Errors that are neither retriable nor met when sending; a new one of aiokafka's is in neither list, and fails."""

ALL = sorted(
    {one for one in vars(kafka).values() if inspect.isclass(one) and issubclass(one, kafka.KafkaError)},
    key=lambda one: one.__name__,
)


@pytest.mark.parametrize("error", ALL)
def test_every_error_of_the_client_is_mapped_and_a_new_one_is_noticed(error: type[Exception]) -> None:
    assert issubclass(kind_of(error), TransientError | PermanentError)
    assert getattr(error, "retriable", False) or error in ERRORS or error.__name__ in NEVER_WHEN_SENDING, (
        "does sending meet it? then it needs a line in ERRORS, else in NEVER_WHEN_SENDING"
    )


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (kafka.MessageSizeTooLargeError, RecordRefused),
        (kafka.InvalidTimestampError, RecordRefused),
        (kafka.NotEnoughReplicasError, TransientError),
        (kafka.KafkaTimeoutError, TransientError),
        (kafka.TopicAuthorizationFailedError, TransientError),
        (kafka.OutOfOrderSequenceNumber, TransientError),
        (kafka.ProducerFenced, TransientError),
    ],
)
def test_record_refused_is_permanent_and_everything_that_passes_is_waited_for(
    error: type[Exception], ours: type[Exception]
) -> None:
    assert kind_of(error) is ours


class Client:
    """What our producer asks of aiokafka's; `fail` and `fail_ack` say what goes wrong with a record of that value.

    It is the factory too: each client it makes shares what the tests set and see, and fails by itself.
    """

    def __init__(
        self, fail: dict[bytes, Exception] | None = None, fail_ack: dict[bytes, Exception] | None = None
    ) -> None:
        self.fail, self.fail_ack = fail or {}, fail_ack or {}
        self.silent: set[bytes] = set()
        self.sent: list[bytes] = []
        self.made: list[One] = []
        self.close_hangs = False
        self.start_error: Exception | None = None

    def __call__(self, **_settings: object) -> "One":
        """Make a client."""
        self.made.append(One(self))
        return self.made[-1]


class One:
    """One client; after a refused record it refuses all that follow, as the broker does."""

    def __init__(self, rules: Client) -> None:
        self._rules = rules
        self._gap = False
        self._waiting: list[asyncio.Future[None]] = []
        self._sender = SimpleNamespace(sender_task=None)
        self._message_accumulator = SimpleNamespace(_batch_ttl=10.0, fail_all=self._fail_all)
        self.client = self
        self.closed = False

    async def start(self) -> None:
        """Connect."""
        if self._rules.start_error is not None:
            raise self._rules.start_error

    async def flush(self) -> None:
        """Wait for what waits, for good if need be."""
        if self._waiting:
            await asyncio.wait(self._waiting)

    async def close(self) -> None:
        """Disconnect."""
        if self._rules.close_hangs:
            await asyncio.Event().wait()
        self.closed = True

    async def fetch_all_metadata(self) -> None:
        """Answer."""

    async def end(self) -> None:
        """End the background task that sends."""
        self._sender.sender_task = asyncio.create_task(asyncio.sleep(0))
        await asyncio.wait([self._sender.sender_task])

    def _fail_all(self, error: Exception) -> None:
        for ack in self._waiting:
            if not ack.done():
                ack.set_exception(error)

    async def send(self, _topic: str, value: bytes, **_more: object) -> "asyncio.Future[None]":
        """Take a record."""
        if (error := self._rules.fail.get(value)) is not None:
            raise error
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if value in self._rules.silent:
            self._waiting.append(ack)
            return ack
        failure = kafka.OutOfOrderSequenceNumber() if self._gap else self._rules.fail_ack.get(value)
        if failure is None:
            self._rules.sent.append(value)
            ack.set_result(None)
        else:
            self._gap = True
            ack.set_exception(failure)
        return ack


def wire(value: bytes, topic: str = "leads") -> Wire:
    return Wire(topic=topic, key=b"key", value=value, headers=[])


async def test_records_are_sent_in_order_and_returned_from_once_acknowledged() -> None:
    client = Client()
    await KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client).send_wire(
        wire(b"1"), wire(b"2")
    )
    assert client.sent == [b"1", b"2"]


async def test_record_too_large_for_kafka_is_refused_for_good() -> None:
    """It used to be waited for: its partition stood for good."""
    client = Client(fail={b"large": kafka.MessageSizeTooLargeError("1048577 bytes")})
    with pytest.raises(RecordRefused, match="1048577 bytes"):
        await KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client).send_wire(
            wire(b"1"), wire(b"large")
        )


async def test_broker_without_enough_replicas_is_waited_for() -> None:
    client = Client(fail_ack={b"1": kafka.NotEnoughReplicasError()})
    with pytest.raises(TransientError) as found:
        await KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client).send_wire(wire(b"1"))
    assert not isinstance(found.value, ProcessMustEnd)


@pytest.mark.parametrize("error", [kafka.OutOfOrderSequenceNumber(), kafka.KafkaError("Unexpected error")])
async def test_client_that_can_never_send_again_is_replaced_and_the_record_is_sent(error: kafka.KafkaError) -> None:
    """It used to end the process."""
    client = Client(fail_ack={b"1": error})
    producer = KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client)
    with pytest.raises(TransientError):
        await producer.send_wire(wire(b"1"))
    del client.fail_ack[b"1"]
    await producer.send_wire(wire(b"1"))
    assert client.sent == [b"1"]
    assert len(client.made) == 2
    await producer.stop()
    assert all(one.closed for one in client.made)


async def test_topic_that_is_always_refused_costs_the_others_one_client_and_is_tried_less_and_less_often() -> None:
    """Each try used to replace everybody's client, and to fail whatever waited in it."""
    client = Client(fail_ack={b"bad": kafka.TopicAuthorizationFailedError("touches")})
    client.silent = {b"waits"}
    producer = KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client)
    with pytest.raises(TransientError, match="TopicAuthorizationFailed"):
        await producer.send_wire(wire(b"bad", "touches"))
    waiting = asyncio.create_task(producer.send_wire(wire(b"waits")))
    await eventually(lambda: len(client.made) == 2)
    for _ in range(30):
        with pytest.raises(TransientError, match="TopicAuthorizationFailed"):
            await producer.send_wire(wire(b"bad", "touches"))
        await producer.send_wire(wire(b"good"))
    assert not waiting.done()
    assert client.sent.count(b"good") == 30
    assert len(client.made) <= 5
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.wait_for(producer.stop(), 30)


async def test_topic_that_was_refused_is_sent_again_once_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producing, "BACKOFF_S", (0.01, 0.02))
    client = Client(fail_ack={b"bad": kafka.TopicAuthorizationFailedError("touches")})
    producer = KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client)
    for _ in range(4):
        with pytest.raises(TransientError):
            await producer.send_wire(wire(b"bad", "touches"))
    client.fail_ack.clear()

    async def taken() -> bool:
        with contextlib.suppress(TransientError):
            await producer.send_wire(wire(b"bad", "touches"))
        return client.sent == [b"bad"]

    await eventually(taken)
    await producer.stop()


async def test_sender_task_has_ended_the_next_send_replaces_the_client() -> None:
    client = Client(fail={b"1": kafka.KafkaError("Unexpected error")})
    producer = KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client)
    await producer.send_wire(wire(b"0"))
    await client.made[0].end()
    with pytest.raises(TransientError):
        await producer.check()
    client.fail.clear()
    await producer.send_wire(wire(b"1"))
    assert len(client.made) == 2
    await producer.stop()


async def test_client_is_replaced_what_waits_in_it_fails_for_now_though_closing_it_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotent_client, "CLOSE_LIMIT_S", 0.05)
    client = Client(fail_ack={b"bad": kafka.OutOfOrderSequenceNumber()})
    client.silent, client.close_hangs = {b"waits"}, True
    producer = KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", send_timeout_s=30, make_producer=client)
    waiting = asyncio.create_task(producer.send_wire(wire(b"waits")))
    await eventually(lambda: bool(client.made))
    with pytest.raises(TransientError):
        await producer.send_wire(wire(b"bad"))
    with pytest.raises(TransientError, match="ProducerClosed"):
        await asyncio.wait_for(waiting, 5)
    await producer.send_wire(wire(b"next"))
    assert client.sent == [b"next"]
    await asyncio.wait_for(producer.stop(), 5)


async def test_record_the_broker_refuses_alone_too_is_refused_and_the_next_one_is_sent() -> None:
    client = Client(fail_ack={b"bad": kafka.MessageSizeTooLargeError()})
    producer = KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client)
    with pytest.raises(RecordRefused):
        await producer.send_wire(wire(b"good"), wire(b"bad"))
    await producer.send_wire(wire(b"next"))
    assert client.sent == [b"good", b"next"]
    await producer.stop()


async def test_record_refused_for_anothers_sake_is_sent_alone() -> None:
    """The broker refuses a whole batch."""

    class Once(dict[bytes, Exception]):
        def get(self, key: bytes, default: object = None) -> Exception | None:  # type: ignore[override]
            return self.pop(key, None)

    client = Client(fail_ack=Once({b"1": kafka.MessageSizeTooLargeError()}))
    producer = KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client)
    await producer.send_wire(wire(b"1"), wire(b"2"))
    assert client.sent == [b"1", b"2"]
    await producer.stop()


async def test_new_client_cannot_connect_the_send_waits_and_a_later_one_connects() -> None:
    client = Client()
    client.start_error = kafka.KafkaConnectionError("away")
    producer = KafkaProducer(bootstrap_servers="nowhere:1", client_id="it", make_producer=client)
    with pytest.raises(TransientError, match="away"):
        await producer.send_wire(wire(b"1"))
    client.start_error = None
    await producer.send_wire(wire(b"1"))
    assert client.sent == [b"1"]
    await producer.stop()


def test_client_that_was_not_tested_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(idempotent_client.SOURCES))
    monkeypatch.setattr(idempotent_client, "SOURCES", {**idempotent_client.SOURCES, name: "0" * 16})
    with pytest.raises(idempotent_client.UntestedClient, match=name):
        idempotent_client.check_pins()


def test_installed_client_is_the_one_that_was_tested() -> None:
    idempotent_client.check_pins()


async def test_acknowledgement_never_comes_the_send_gives_up_at_its_own_limit() -> None:
    """The client waits for good for a partition that has no leader."""
    client = Client()
    client.silent = {b"1"}
    with pytest.raises(TransientError, match=r"within 0\.05 s: leads"):
        await KafkaProducer(
            bootstrap_servers="nowhere:1", client_id="it", send_timeout_s=0.05, make_producer=client
        ).send_wire(wire(b"1"))


async def test_fake_told_to_fail_fails_raw_records_too() -> None:
    producer = FakeProducer(fail=1)
    with pytest.raises(TransientError):
        await producer.send_wire(wire(b"1"))
    await producer.send_wire(wire(b"2"))
    assert [record.value for record in producer.records] == [b"2"]
