"""Kafka's errors when sending, as ours."""

from collections.abc import Mapping
from typing import Final

from aiokafka import errors as kafka

from services.runtime.errors import PermanentError, TransientError


class RecordRefused(PermanentError):
    """This record can never be written: it is too large, or its time or topic is refused."""


ERRORS: Final[Mapping[type[Exception], type[TransientError] | type[PermanentError]]] = {
    kafka.KafkaError: TransientError,
    # The record itself; the same one would be refused again and again.
    kafka.MessageSizeTooLargeError: RecordRefused,
    kafka.RecordTooLargeError: RecordRefused,
    kafka.RecordListTooLargeError: RecordRefused,
    kafka.InvalidTimestampError: RecordRefused,
    kafka.InvalidTopicError: RecordRefused,
    kafka.UnsupportedForMessageFormatError: RecordRefused,
    # The broker and this client no longer agree on what came last; a new client is not affected.
    kafka.OutOfOrderSequenceNumber: TransientError,
    kafka.UnknownProducerId: TransientError,
    kafka.InvalidProducerEpoch: TransientError,
    kafka.InvalidProducerIdMapping: TransientError,
    kafka.ProducerFenced: TransientError,
    # Not retriable for the client, yet no fault of the record: it waits, unready, until someone has put it right.
    kafka.TopicAuthorizationFailedError: TransientError,
    kafka.ClusterAuthorizationFailedError: TransientError,
    kafka.SaslAuthenticationFailed: TransientError,
    kafka.AuthenticationFailedError: TransientError,
    kafka.AuthenticationMethodNotSupported: TransientError,
    kafka.UnsupportedSaslMechanismError: TransientError,
    kafka.IllegalSaslStateError: TransientError,
    kafka.SecurityDisabled: TransientError,
    kafka.PolicyViolationError: TransientError,
    kafka.QuotaViolationError: TransientError,
    kafka.BrokerNotAvailableError: TransientError,
    kafka.ReplicaNotAvailableError: TransientError,
    kafka.InvalidRequiredAcksError: TransientError,
    kafka.InvalidRequestError: TransientError,
    kafka.UnsupportedVersionError: TransientError,
    kafka.IncompatibleBrokerVersion: TransientError,
    kafka.UnrecognizedBrokerVersion: TransientError,
    kafka.CorruptRecordException: TransientError,  # damaged on its way
    kafka.KafkaTimeoutError: TransientError,
    kafka.KafkaUnavailableError: TransientError,
    kafka.UnknownError: TransientError,
    kafka.ProducerClosed: TransientError,  # we are stopping, or its client was replaced; nothing is wrong with the record
}
"""Our kind of each error that sending may meet; the most specific class wins. What the client calls retriable is
transient without being listed."""


def kind_of(error: type[BaseException]) -> type[TransientError] | type[PermanentError]:
    """Return our kind of one of aiokafka's error classes."""
    if getattr(error, "retriable", False):
        return TransientError
    return next(ERRORS[model] for model in error.__mro__ if model in ERRORS)
