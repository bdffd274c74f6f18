"""What Kafka's client raises when sending becomes ours: wait, refuse the record, or end the process."""

import inspect

import pytest
from aiokafka import errors as kafka

from services.runtime.errors import PermanentError, ProcessMustEnd, TransientError
from services.runtime.producer import ERRORS, ProducerEnded, RecordRefused, kind_of

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
