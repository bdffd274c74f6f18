"""Which settings there are: the classes of every service, and how a field is called in the environment."""

from typing import Final

from services.ingest.settings import IngestSettings, ReconcilerSettings
from services.leads.settings import LeadsSettings
from services.notifier.settings import NotifierSettings
from services.runtime.settings import RuntimeSettings
from services.sequencer.settings import SequencerSettings, TimekeeperSettings

SETTINGS: Final[tuple[type[RuntimeSettings], ...]] = (
    IngestSettings,
    LeadsSettings,
    NotifierSettings,
    SequencerSettings,
    TimekeeperSettings,
    ReconcilerSettings,
)

NOT_FOR_OPERATORS: Final = {"service"}
"""The process's own name: it says it itself."""


def variable(field: str) -> str:
    """Return what a field is called in the environment."""
    return f"RINGBACK_{field.upper()}"


def variables() -> set[str]:
    """Return every setting of every service, and the folder that secrets may come from."""
    fields = {field for settings in SETTINGS for field in settings.model_fields}
    return {variable(field) for field in fields - NOT_FOR_OPERATORS} | {"RINGBACK_SECRETS_DIR"}
