"""The settings of the sequencer and its timekeeper; read once, from the environment."""

from pathlib import Path

from pydantic import Field

from services.runtime.settings import MongoSettings, RuntimeSettings


class SequencerSettings(RuntimeSettings):
    """The sequencer's settings."""

    service: str = "sequencer"
    ops_port: int = Field(default=9103, ge=0, le=65535, description="0: any free port, printed at start")
    cadences: Path | None = Field(default=None, description="a folder of cadence files, beside the shipped ones")
    sequencer_data_dir: Path | None = Field(
        default=None, description="ephemeral, this instance's alone, wiped at start; none: a temporary one"
    )
    sequencer_session_timeout_s: float = Field(default=10.0, ge=6, le=300, description="Kafka's; our lease is shorter")
    sequencer_window: int = Field(default=256, ge=1, le=4096, description="most events decided and not acknowledged")


class TimekeeperSettings(MongoSettings):
    """The timekeeper's settings."""

    service: str = "timekeeper"
    ops_port: int = Field(default=9105, ge=0, le=65535, description="0: any free port, printed at start")
