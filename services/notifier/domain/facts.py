"""What can happen to a delivery, as values: the gate's verdicts, the provider's answers, the carrier's receipts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from schemas.inbound import ReceiptStatus
from schemas.touches import SuppressReason
from services.notifier.domain.delivery import RenderedText


@dataclass(frozen=True, slots=True)
class GateClosed:
    """The last gate said no; with `until` the sequencer tries again then."""

    reason: SuppressReason
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """The last gate cannot decide now, or the number's budget is spent; the text is tried again a little later."""

    why: Literal["tail_away", "budget"]


@dataclass(frozen=True, slots=True)
class CameTooLate:
    """`expires_at` is past: a late text is worse than none."""


@dataclass(frozen=True, slots=True)
class CannotCompose:
    """No text can be made of it: wording, branch or recipient is missing."""

    reason: str


@dataclass(frozen=True, slots=True)
class PostingStarts:
    """The gate is open and the text is rendered; the request goes out next, before `post_by_real`."""

    text: RenderedText
    post_by_real: datetime


@dataclass(frozen=True, slots=True)
class ProviderAccepted:
    """The provider has the text. `listed`: its list says so, because the answer to the request was lost."""

    sid: str
    listed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """Known not to be sent: no connection, a 429, or a request that was not written.

    Attributes:
        reason: why.
        code: the provider's error code.
        pause: whether the next attempt waits; without it, it comes at once.
        configuration: whether our configuration is wrong, not the text.
    """

    reason: str
    code: int | None = None
    pause: bool = True
    configuration: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider will never take it."""

    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class LeftInDoubt:
    """It may or may not have been sent; a receipt or the provider's list will show.

    `server_error`: the provider answered with a 5xx, so that its list, once it is settled, can be believed.
    """

    reason: str
    server_error: bool = False


@dataclass(frozen=True, slots=True)
class NotListed:
    """The provider's list, read long enough after the request, does not show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptCame:
    """A receipt: proof that the provider has the text, whatever it answered to the request.

    `may_free`: whether an undelivered text may give its step to another attempt; one delivery of a step has done so at most.
    """

    sid: str
    status: ReceiptStatus
    code: int | None = None
    may_free: bool = True


SendOutcome = ProviderAccepted | NotSent | Refused | LeftInDoubt
"""How a request to the provider can end."""

DeliveryFact = (
    GateClosed
    | Hold
    | CameTooLate
    | CannotCompose
    | PostingStarts
    | ProviderAccepted
    | NotSent
    | Refused
    | LeftInDoubt
    | NotListed
    | ReceiptCame
)
FACTS: tuple[type[DeliveryFact], ...] = get_args(DeliveryFact)
