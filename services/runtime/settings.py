"""Settings come from the environment alone (prefix `RINGBACK_`), secrets also by file; each service adds its own fields."""

import os
import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.problems import problems_of, written
from schemas.topics import PARTITIONS, Topic, topics_of
from services.runtime.clock import Clock, clock_from
from services.runtime.exits import exit_with_problems
from services.runtime.mongo_url import checked_mongodb_url

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def checked_host(value: str) -> str:
    """Return an address or the name of a host as it is written; whether the name is known is seen when it is used.

    Raises:
        ValueError: it is neither.
    """
    labels = value.split(".")
    try:
        ip_address(value)
    except ValueError:
        # A name whose last part is a number is an address with a mistake in it.
        if len(value) > 253 or not all(map(_LABEL.fullmatch, labels)) or labels[-1].isdigit():
            raise ValueError("is not a host; write an address such as 127.0.0.1 or 0.0.0.0, or a name") from None
    return value


def checked_base_url(value: str) -> str:
    """Return a base URL as it is written.

    Raises:
        ValueError: paths cannot be put behind it.
    """
    try:
        found = urlsplit(value)
        checked_host(found.hostname or "")
        is_good = found.scheme in ("http", "https") and found.port != 0 and "@" not in found.netloc
    except ValueError:  # the host, or a port that is no number
        is_good = False
    if not is_good or not value.isprintable() or set(" ?#") & set(value):
        raise ValueError("is not a base URL; write it like https://hooks.example.com, without login, ? or #")
    return value


Host = Annotated[str, AfterValidator(checked_host)]
BaseUrl = Annotated[str, AfterValidator(checked_base_url)]


def checked_servers(value: str) -> str:
    """Return Kafka's servers as they are written.

    Raises:
        ValueError: one of them is not host:port.
    """
    for server in value.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not (len(port) <= 5 and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise ValueError(f"{server[:60]!r} is not host:port, such as 127.0.0.1:9092; a port is 1 to 65535")
    return value


class SettingsError(Exception):
    """The environment is wrong; `problems` lists everything that is, each with its setting."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def check_named_servers() -> None:
    """Check the addresses of Kafka and MongoDB, for whoever starts those that the environment does not name.

    Raises:
        SettingsError: one that is named cannot be right.
    """
    problems = []
    for name, check in (
        ("RINGBACK_KAFKA_BOOTSTRAP_SERVERS", checked_servers),
        ("RINGBACK_MONGODB_URL", checked_mongodb_url),
    ):
        try:
            if value := os.environ.get(name):
                check(value)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise SettingsError(problems)


class RuntimeSettings(BaseSettings):
    """What every service is told."""

    model_config = SettingsConfigDict(
        env_prefix="RINGBACK_", frozen=True, extra="ignore", secrets_dir=os.environ.get("RINGBACK_SECRETS_DIR") or None
    )

    service: str = "service"
    kafka_bootstrap_servers: str = Field(description="host:port[,host:port]", examples=["127.0.0.1:9092"])
    clock: str = Field(default="system", description="`system`, or the path of a clock file")
    twilio_base_url: BaseUrl = Field(
        default="https://api.twilio.com", description="the sandbox's URL outside production"
    )
    ops_host: Host = Field(default="127.0.0.1", description="where /healthz, /readyz and /metrics listen")
    ops_port: int = Field(default=0, ge=0, le=65535, description="0: any free port, printed at start")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    group_prefix: str = Field(default="", description="keeps several deployments apart on one cluster")
    topic_partitions: int = Field(
        default=PARTITIONS, ge=1, le=1000, description="of every topic but dead letters; fixed once there are events"
    )
    instance: str = Field(default="0", description="this replica's stable name: the pod's, or its number")

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _has_servers(cls, value: str) -> str:
        return checked_servers(value)

    @model_validator(mode="after")
    def _clock_is_safe(self) -> Self:
        if self.clock != "system" and urlsplit(self.twilio_base_url).hostname not in LOOPBACK:
            raise ValueError("RINGBACK_CLOCK may be a file only while RINGBACK_TWILIO_BASE_URL is on loopback")
        try:
            clock_from(self.clock)
        except OSError as error:
            raise ValueError(f"RINGBACK_CLOCK: cannot read {self.clock}: {error.strerror}") from error
        return self

    def group(self, name: str) -> str:
        """Return the consumer group of a part of this deployment."""
        return f"{self.group_prefix}ringback-{name}"

    def topics(self, *names: str) -> tuple[Topic, ...]:
        """Return this deployment's topics: those named, or all; the changelog's name has the deployment's prefix."""
        found = topics_of(self.group_prefix, self.topic_partitions)
        return tuple(topic for topic in found if topic.name in names) if names else found

    def make_clock(self) -> Clock:
        """Return the clock these settings name."""
        return clock_from(self.clock)

    def effective(self) -> dict[str, object]:
        """Return the settings as they took effect, secrets masked."""
        return {
            f"RINGBACK_{name.upper()}": "********" if isinstance(value, SecretStr) else value for name, value in self
        }

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the environment.

        Raises:
            SettingsError: lists every missing or wrong setting; names the folder of secrets alone when it is not there.
        """
        folder = os.environ.get("RINGBACK_SECRETS_DIR")
        if folder and not Path(folder).is_dir():
            raise SettingsError([f"RINGBACK_SECRETS_DIR: {folder} is not a folder"])
        try:
            return cls.model_validate(overrides)
        except ValidationError as error:
            problems = problems_of(error, _variable)
            raise SettingsError([f"{name}: {why}" if name else why for name, why in problems]) from error
        except ValueError as error:
            raise SettingsError([str(error)]) from error

    @classmethod
    def load_or_exit(cls, **overrides: object) -> Self:
        """Read the environment, or list all that is wrong with it and exit with 78."""
        try:
            return cls.load(**overrides)
        except SettingsError as error:
            exit_with_problems("settings", error.problems)


def _variable(loc: Sequence[int | str]) -> str:
    return "RINGBACK_" + "_".join(str(part) for part in loc).upper() if loc else ""


def _checked_secret_url(url: SecretStr) -> SecretStr:
    checked_mongodb_url(url.get_secret_value())
    return url


MongoUrl = Annotated[SecretStr, AfterValidator(_checked_secret_url)]
"""Secret, because it may carry a password."""


class MongoSettings(RuntimeSettings):
    """For services that keep documents."""

    mongodb_url: MongoUrl = Field(examples=["mongodb://127.0.0.1:27017/?directConnection=true"])
    mongodb_database: str = "ringback"


class LenderSettings(RuntimeSettings):
    """For services that need the lender's file."""

    directory: Path = Field(description="the lender's file", examples=["deploy/examples/lender.yaml"])


class NumberKeySettings(RuntimeSettings):
    """For services that read or write `suppressions`."""

    number_key: SecretStr = Field(min_length=16, description="made once, never changed")


class TwilioAccountSettings(RuntimeSettings):
    """For services that read what Twilio has."""

    twilio_account_sid: Annotated[
        str, written("AC[0-9a-fA-F]{32}", "is not an account SID; write AC and 32 hexadecimal digits")
    ]
    twilio_auth_token: SecretStr


class TwilioSettings(TwilioAccountSettings):
    """For services that Twilio calls, or that tell it where to."""

    public_base_url: BaseUrl = Field(description="what providers call us by; it is what they sign")
    twilio_retry: Annotated[
        str,
        written("(#[a-z0-9=&,]+)?", "is not Twilio's connection overrides; write them like #rc=5&rp=all, or nothing"),
    ] = Field(
        default="#rc=5&rp=all",
        description="Twilio's connection overrides, put behind each callback URL that we hand out",
    )
