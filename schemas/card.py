"""The read-only card: what the notifier (and nobody else) may read of the leads service's MongoDB documents.

The leads service owns these collections. It promises the fields below; the rest of a document may change at any time.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from schemas.base import Texting, Value

COLLECTION = "leads"
OFFICERS = "officers"
SUPPRESSIONS = "suppressions"

OfficerStatus = Literal["available", "busy", "in_meeting", "off"]


class LeadCard(Value):
    """One lead, as the last gate and the wording need it."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    lead_id: str = Field(alias="_id")
    lender_id: str
    caller: str
    branch_id: str
    name: str | None = None
    referred_by: str | None = None
    owner_id: str | None = None
    status: str
    texting: Texting
    lead_seq: int
    halt_seq: int = Field(
        default=0,
        description="lead_seq of the newest reply, contact, handover, opt-out or closing: voids older touches",
    )
    seen: Annotated[tuple[str, ...], BeforeValidator(tuple)] = ()
    voicemail: bool = False
    last_call_ended_at: datetime | None = None
    first_reply_at: datetime | None = Field(
        default=None,
        description="when the borrower first texted us, words that only steer texting (STOP, START, HELP) not counted",
    )
    test: bool = False

    @classmethod
    def projection(cls) -> dict[str, int]:
        """Return the MongoDB projection that reads a card and nothing else."""
        return {field.alias or name: 1 for name, field in cls.model_fields.items()}


class OfficerCard(Value):
    """One officer's availability, as the leads service keeps it."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    officer_id: str = Field(alias="_id")
    status: OfficerStatus = "available"


Document = dict[str, Any]
