"""The sandbox's settings; each has a default, so that a test names only those it is about."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.base import E164_PATTERN

ACCOUNT_SID = "AC" + "0" * 32
"""An account that does not exist, in the shape that the services insist on."""

SHARE_ERROR = 1e-9
"""Shares are decimal fractions; their sum may miss 1 by rounding."""


class Shares(BaseModel):
    """Which share of the simulated borrowers does what; the rest stays silent.

    The default is a plausible day, not a measured one: most people stay silent, some opt out, some numbers do not work.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reply: float = Field(default=0.40, ge=0, le=1, description="answers, up to three texts")
    opt_out: float = Field(default=0.06, ge=0, le=1, description="half by keyword, half in their own words")
    help: float = Field(default=0.03, ge=0, le=1, description="texts HELP, then stays silent")
    undelivered: float = Field(default=0.06, ge=0, le=1, description="landline, unknown, unreachable or filtered")

    @model_validator(mode="after")
    def _sum_is_a_share(self) -> Self:
        if self.reply + self.opt_out + self.help + self.undelivered > 1 + SHARE_ERROR:
            raise ValueError("reply + opt_out + help + undelivered must not exceed 1")
        return self


class CallbackFaults(BaseModel):
    """How many status callbacks are lost, doubled or out of order: Twilio guarantees neither delivery nor order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop: float = Field(default=0.0, ge=0, le=1, description="share of callbacks never posted")
    duplicate: float = Field(default=0.0, ge=0, le=1, description="share of callbacks posted twice")
    reorder: float = Field(
        default=0.0, ge=0, le=1, description="share of messages whose callbacks come in reverse order"
    )
    delay_s: float = Field(default=0.0, ge=0, le=60, description="real seconds added before each callback")


class SandboxSettings(BaseModel):
    """All settings of the sandbox."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535, description="0: any free port")
    account_sid: str = Field(default=ACCOUNT_SID, pattern="^AC[0-9a-fA-F]{32}$")
    auth_token: str = Field(default="sandbox-auth-token", min_length=1, repr=False)
    public_base_url: str = Field(
        default="http://127.0.0.1:8080", description="RINGBACK_PUBLIC_BASE_URL of ingest: what webhooks are signed for"
    )
    webhook_base: str | None = Field(
        default=None, description="where that base really listens, if elsewhere; only the connection goes there"
    )
    sms_path: str = Field(
        default="/webhooks/twilio/sms#rc=5&rp=all", description="the Messaging webhook, with Twilio's override fragment"
    )
    service_number: str = Field(
        default="+15550006100", pattern=E164_PATTERN, description="the number a Messaging Service sends from"
    )
    clock: str = Field(default="system", description="`system`, or the path of a clock file")
    status_steps: tuple[str, ...] = Field(default=("queued", "sent", "final"), description="which statuses call back")
    step_s: float = Field(default=0.03, ge=0, le=60, description="real seconds from one status to the next")
    callback_faults: CallbackFaults = CallbackFaults()
    advanced_opt_out: bool = Field(default=False, description="adds OptOutType to incoming texts")
    borrowers: bool = Field(default=False, description="simulate borrowers; otherwise only scripted numbers answer")
    seed: int = 1
    shares: Shares = Shares()
    quiet: frozenset[str] = Field(
        default=frozenset(), description="numbers that never answer by themselves: the officers' phones"
    )
    keep_messages: int = Field(default=200_000, ge=1, description="the oldest beyond it are forgotten")
    keep_requests: int = Field(default=50_000, ge=1)
    callbacks_max: int = Field(default=20_000, ge=1, description="messages under way at once; more get a 429")

    @field_validator("public_base_url", "webhook_base")
    @classmethod
    def _is_base(cls, value: str | None) -> str | None:
        if value is None:
            return None
        found = urlsplit(value)
        if found.scheme not in ("http", "https") or not found.hostname or found.query or found.fragment:
            raise ValueError(f"{value!r} is not a base URL such as https://hooks.example.com")
        return value.rstrip("/")

    @field_validator("status_steps")
    @classmethod
    def _are_steps(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(value) - {"queued", "sent", "final"}:
            raise ValueError(f"unknown steps {sorted(unknown)}; use queued, sent, final")
        return value
