"""What Kafka's client raises when sending becomes ours: wait, refuse the record, or end the process."""

import asyncio
import inspect
from types import SimpleNamespace

import pytest
from aiokafka import errors as kafka

from schemas.envelope import Wire
from services.runtime.errors import PermanentError, ProcessMustEnd, TransientError
from services.runtime.producer import ERRORS, FakeProducer, KafkaProducer, ProducerEnded, RecordRefused, kind_of

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
        (kafka.OutOfOrderSequenceNumber, ProducerEnded),
        (kafka.ProducerFenced, ProducerEnded),
    ],
)
def test_record_refused_is_permanent_and_everything_that_passes_is_waited_for(
    error: type[Exception], ours: type[Exception]
) -> None:
    assert kind_of(error) is ours


def test_our_kinds_say_what_their_callers_do() -> None:
    assert issubclass(RecordRefused, PermanentError)
    assert issubclass(ProducerEnded, ProcessMustEnd)


class Client:
    """What our producer asks of aiokafka's; `fail` and `fail_ack` say what goes wrong with a record of that value."""

    def __init__(
        self, fail: dict[bytes, Exception] | None = None, fail_ack: dict[bytes, Exception] | None = None
    ) -> None:
        self.fail, self.fail_ack = fail or {}, fail_ack or {}
        self.sent: list[bytes] = []
        self.silent: set[bytes] = set()
        self._sender = SimpleNamespace(sender_task=None)

    def __call__(self, **_settings: object) -> "Client":
        """Be made."""
        return self

    def end(self) -> None:
        """End the background task that sends."""
        self._sender.sender_task = SimpleNamespace(done=lambda: True)

    async def send(self, _topic: str, value: bytes, **_more: object) -> "asyncio.Future[None]":
        """Take a record."""
        if (error := self.fail.get(value)) is not None:
            raise error
        self.sent.append(value)
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if value in self.silent:
            return ack
        if (error := self.fail_ack.get(value)) is not None:
            ack.set_exception(error)
        else:
            ack.set_result(None)
        return ack


def wire(value: bytes) -> Wire:
    return Wire("leads", b"key", value, [])


async def test_records_are_sent_in_order_and_returned_from_once_acknowledged() -> None:
    client = Client()
    await KafkaProducer("nowhere:1", "it", make_producer=client).send_wire(wire(b"1"), wire(b"2"))
    assert client.sent == [b"1", b"2"]


async def test_record_too_large_for_kafka_is_refused_for_good() -> None:
    """It used to be waited for: its partition stood for good."""
    client = Client(fail={b"large": kafka.MessageSizeTooLargeError("1048577 bytes")})
    with pytest.raises(RecordRefused, match="1048577 bytes"):
        await KafkaProducer("nowhere:1", "it", make_producer=client).send_wire(wire(b"1"), wire(b"large"))


async def test_broker_without_enough_replicas_is_waited_for() -> None:
    client = Client(fail_ack={b"1": kafka.NotEnoughReplicasError()})
    with pytest.raises(TransientError) as found:
        await KafkaProducer("nowhere:1", "it", make_producer=client).send_wire(wire(b"1"))
    assert not isinstance(found.value, ProcessMustEnd)


@pytest.mark.parametrize("error", [kafka.OutOfOrderSequenceNumber(), kafka.KafkaError("Unexpected error")])
async def test_producer_that_can_never_send_again_says_so(error: kafka.KafkaError) -> None:
    client = Client(fail_ack={b"1": error})
    if type(error) is kafka.KafkaError:
        client.end()
    with pytest.raises(ProducerEnded):
        await KafkaProducer("nowhere:1", "it", make_producer=client).send_wire(wire(b"1"))


async def test_acknowledgement_never_comes_the_send_gives_up_at_its_own_limit() -> None:
    """The client waits for good for a partition that has no leader."""
    client = Client()
    client.silent = {b"1"}
    with pytest.raises(TransientError, match=r"within 0\.05 s: leads"):
        await KafkaProducer("nowhere:1", "it", send_timeout_s=0.05, make_producer=client).send_wire(wire(b"1"))


async def test_fake_told_to_fail_fails_raw_records_too() -> None:
    producer = FakeProducer(fail=1)
    with pytest.raises(TransientError):
        await producer.send_wire(wire(b"1"))
    await producer.send_wire(wire(b"2"))
    assert [record.value for record in producer.records] == [b"2"]
