"""The notifier's settings, read once from the environment."""

from pydantic import Field

from services.runtime.settings import LenderSettings, MongoSettings, NumberKeySettings, TwilioSettings


class NotifierSettings(MongoSettings, LenderSettings, NumberKeySettings, TwilioSettings):
    """The notifier's settings."""

    service: str = "notifier"
    ops_port: int = Field(default=9104, ge=0, le=65535, description="0: any free port, printed at start")
    senders: int = Field(default=32, ge=2, le=256, description="texts under way at once on this instance")
    segments_per_second: float = Field(
        default=0.0, ge=0, le=1000, description="of each sending number, over all instances; 0: no bound of ours"
    )
    doubt_wait_s: float = Field(
        default=60.0, ge=0, description="how long after `post_by` the provider's list is asked about a text in doubt"
    )
