"""What a webhook URL asks for: Twilio's connection overrides in its fragment, and which URLs are none."""

import pytest
from pydantic import ValidationError

from deploy.sandbox.settings import SandboxSettings
from deploy.sandbox.webhooks import Target


def test_webhook_url_gives_up_its_fragment_and_keeps_its_query() -> None:
    target = Target.parse("https://hooks.example.com:8443/a?b=%2F+c#rc=3&rp=4xx,rt&rt=700")
    assert target.url == "https://hooks.example.com:8443/a?b=%2F+c"
    assert (target.retries, target.read_s) == (3, 0.7)
    assert [target.retries_on(outcome) for outcome in ("ct", "rt", "4xx", "5xx")] == [False, True, True, False]


def test_webhook_url_without_overrides_is_retried_once_and_only_without_connection() -> None:
    target = Target.parse("http://127.0.0.1/a")
    assert target.retries == 1
    assert [target.retries_on(outcome) for outcome in ("ct", "rt", "4xx", "5xx")] == [True, False, False, False]


@pytest.mark.parametrize(
    "url",
    ["", "/a", "ftp://x/", "http://", "http://x/ y", "http://x/\n", "http://x/ü", "http://[x/", "http://x:99999/"],
)
def test_webhook_url_nobody_would_call_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an absolute"):
        Target.parse(url)


def test_settings_refuse_a_base_url_with_a_query() -> None:
    with pytest.raises(ValidationError, match="not a base URL"):
        SandboxSettings(public_base_url="https://x/?a=b")
