"""Settings of the leads service; all from the environment."""

from pydantic import Field

from services.runtime.settings import LenderSettings, MongoSettings, NumberKeySettings


class LeadsSettings(MongoSettings, LenderSettings, NumberKeySettings):
    """What the leads service is told."""

    service: str = "leads"
    ops_port: int = Field(default=9102, ge=0, le=65535, description="0: any free port, printed at start")
