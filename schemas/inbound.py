"""`replies` and `receipts`: texts from borrowers, and carriers' reports on texts to them."""

from typing import ClassVar, Literal

from pydantic import Field

from schemas.base import E164, EventData, Id, Instant


class ReplyReceived(EventData):
    """A text from a borrower."""

    TYPE: ClassVar[str] = "reply.received"
    TOPIC: ClassVar[str] = "replies"

    message_id: Id
    caller: E164
    to: E164 = Field(description="the number of ours that was texted")
    body: str = Field(max_length=10_000)
    opt_out_type: Literal["STOP", "START", "HELP"] | None = Field(
        default=None, description="set when the carrier has answered the keyword already; we then send no answer"
    )
    media_count: int = Field(default=0, ge=0)
    received_at: Instant
    listed: bool = Field(
        default=False,
        description="true: read from the provider's list because no webhook told it, so later texts may be known already",
    )


class ReplyLookedAt(EventData):
    """Somebody has looked at a text that could not be read, and has replayed or dropped its dead letter.

    It has that text's key, so that it is read after what was replayed.
    """

    TYPE: ClassVar[str] = "reply.looked_at"
    TOPIC: ClassVar[str] = "replies"

    partition: int = Field(ge=0, description="of `replies`, where the text stood that could not be read")
    offset: int = Field(ge=0, description="in that partition")
    how: Literal["replayed", "dropped"]
    looked_at: Instant


ReceiptStatus = Literal[
    "accepted", "scheduled", "queued", "sending", "sent", "delivered", "undelivered", "failed", "canceled", "read"
]


class ReceiptReceived(EventData):
    """A carrier's report on one of our texts. Reports may come in any order or not at all; readers keep the latest status."""

    TYPE: ClassVar[str] = "receipt.received"
    TOPIC: ClassVar[str] = "receipts"

    touch_id: Id | None = Field(
        default=None,
        description="from our callback URL; proves that the provider took the text, even if its answer was lost",
    )
    sid: Id
    status: ReceiptStatus
    error_code: int | None = None
    to: E164
    received_at: Instant
