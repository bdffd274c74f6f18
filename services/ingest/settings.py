"""What ingest is told by its environment."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from schemas.problems import NOT_A_NUMBER
from services.policy.numbers import normalize_caller
from services.runtime.settings import LOOPBACK, Host, LenderSettings, TwilioAccountSettings, TwilioSettings

BODY_LIMIT_BYTES = 64 * 1024
"""Twilio's largest form is a few KiB (an SMS of 1,600 characters with its media URLs)."""


class CallSettings(LenderSettings):
    """What ingest and the reconciler are told alike: whose calls are tests, and where the spools are."""

    test_numbers: str = Field(
        default="", description="callers whose calls are tests, beside the directory's own (fact C12)"
    )
    spool_dir: Path | None = Field(
        default=None,
        description="a folder on a disk that outlives the process, for events while Kafka is away; unset: no spool",
    )

    @field_validator("test_numbers")
    @classmethod
    def _are_numbers(cls, value: str) -> str:
        for number in filter(None, (part.strip() for part in value.split(","))):
            if normalize_caller(number).e164 != number:
                raise ValueError(f"has an entry that {NOT_A_NUMBER}; separate entries by commas")
        return value

    @property
    def test_callers(self) -> frozenset[str]:
        """The numbers of `test_numbers`."""
        return frozenset(part.strip() for part in self.test_numbers.split(",") if part.strip())


class ReconcilerSettings(CallSettings, TwilioAccountSettings):
    """Whose lists the reconciler reads, and where it keeps the time of its last pass: beside the spools."""

    service: str = "reconciler"
    ops_port: int = Field(default=9106, ge=0, le=65535, description="0: any free port, printed at start")


class IngestSettings(CallSettings, TwilioSettings):
    """Where ingest listens and what it trusts."""

    service: str = "ingest"
    ops_port: int = Field(default=9101, ge=0, le=65535, description="0: any free port, printed at start")
    ingest_host: Host = Field(default="127.0.0.1", description="where the webhooks listen")
    ingest_port: int = Field(default=8080, ge=0, le=65535, description="0: any free port, printed at start")
    twilio_auth_token_old: SecretStr | None = Field(default=None, description="still accepted while tokens rotate")
    webhook_secret: SecretStr | None = Field(
        default=None, min_length=16, description="signs /webhooks/calls; unset: that route refuses everything"
    )
    insecure_webhooks: bool = Field(default=False, description="1: signatures are not checked; loopback only")
    ack_limit_s: float = Field(
        default=1.0, gt=0, le=1.5, description="longest wait for Kafka before an event goes to the spool"
    )
    spool_max_bytes: int = Field(default=256 << 20, ge=1 << 20, description="what the spool may hold")

    @model_validator(mode="after")
    def _insecure_only_on_loopback(self) -> Self:
        if self.insecure_webhooks and self.ingest_host not in LOOPBACK:
            raise ValueError("RINGBACK_INSECURE_WEBHOOKS=1 is refused unless RINGBACK_INGEST_HOST is loopback")
        return self

    @property
    def twilio_tokens(self) -> tuple[str, ...]:
        """The auth tokens that may have signed a webhook, the current one first."""
        tokens = (self.twilio_auth_token, self.twilio_auth_token_old)
        return tuple(token.get_secret_value() for token in tokens if token and token.get_secret_value())

    @property
    def spool_folder(self) -> Path | None:
        """This instance's own folder of the spool."""
        return self.spool_dir / self.instance if self.spool_dir else None
