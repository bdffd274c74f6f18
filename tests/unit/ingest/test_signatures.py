"""Who sent a webhook, by Twilio's own validator, against our public URL."""

import json
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from twilio.request_validator import RequestValidator

from services.ingest.settings import IngestSettings
from services.ingest.signing import sign_twilio_json
from services.runtime.settings import SettingsError
from tests.unit.ingest.rig import ACCOUNT, BASE, OLD_TOKEN, TOKEN, Rig

PATH = "/webhooks/twilio/message-status?touch=t-1"
RECEIPT = {"MessageSid": "SM" + "d" * 32, "From": "+12125550100", "To": "+13035550123", "MessageStatus": "sent"}


def rejected(reason: str) -> float:
    labels = {"route": "/webhooks/twilio/message-status", "reason": reason}
    return REGISTRY.get_sample_value("ringback_webhooks_rejected_total", labels) or 0.0


async def test_signature_made_by_the_official_sdk_is_accepted(rig: Rig) -> None:
    form = {"AccountSid": ACCOUNT, **RECEIPT}
    signature = RequestValidator(TOKEN).compute_signature(BASE + PATH, form)
    answer = await rig.client.post(PATH, data=form, headers={"X-Twilio-Signature": signature})
    assert answer.status == 204
    assert len(rig.events) == 1


async def test_signature_of_the_shared_key_kind_is_accepted(rig: Rig) -> None:
    form = {"AccountSid": ACCOUNT, **RECEIPT}
    signature = RequestValidator(TOKEN).compute_signature(BASE + PATH, form, "HMAC_SHA256")
    headers = {"X-Twilio-Signature": signature, "X-Twilio-Webhooks-Signature-Settings": "key=k,algorithm=HMAC_SHA256"}
    assert (await rig.client.post(PATH, data=form, headers=headers)).status == 204


async def test_token_of_yesterday_is_still_good_and_any_other_is_not(rig: Rig) -> None:
    assert (await rig.twilio("message-status", RECEIPT, token=OLD_TOKEN)).status == 204
    assert (await rig.twilio("message-status", RECEIPT, token="someone-elses")).status == 403


@pytest.mark.parametrize(
    "signed",
    ["https://hooks.larkspur.example:443" + PATH, BASE + PATH],
)
async def test_signature_with_and_without_the_port_is_accepted(rig: Rig, signed: str) -> None:
    assert (await rig.twilio("message-status?touch=t-1", RECEIPT, signed_url=signed)).status == 204


@pytest.mark.parametrize(
    "signed",
    ["http://hooks.larkspur.example" + PATH, "https://evil.example" + PATH,
     "https://hooks.larkspur.example:8443" + PATH,
     BASE + "/webhooks/twilio/message-status", BASE + PATH.replace("t-1", "t-2"),
     BASE + "/webhooks/twilio/sms?touch=t-1",
     "http://127.0.0.1" + PATH],
)  # fmt: skip
async def test_signature_for_another_scheme_host_port_path_or_query_gets_403(rig: Rig, signed: str) -> None:
    before = rejected("bad_signature")
    answer = await rig.twilio("message-status?touch=t-1", RECEIPT, signed_url=signed)
    assert (answer.status, (await answer.json())["error"]["reason"]) == (403, "bad_signature")
    assert rejected("bad_signature") == before + 1
    assert not rig.events


async def test_host_and_forwarded_headers_are_never_asked(rig: Rig) -> None:
    lies = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    assert (await rig.twilio("message-status", RECEIPT, headers=lies)).status == 204
    signed = "http://evil.example/webhooks/twilio/message-status"
    assert (await rig.twilio("message-status", RECEIPT, headers=lies, signed_url=signed)).status == 403


@pytest.mark.parametrize("change", [{"MessageStatus": "failed"}, {"ErrorCode": "30003"}, {"To": "+13035550124"}])
async def test_form_that_was_tampered_with_gets_403(rig: Rig, change: dict[str, str]) -> None:
    form = {"AccountSid": ACCOUNT, **RECEIPT}
    signature = RequestValidator(TOKEN).compute_signature(BASE + PATH, form)
    answer = await rig.client.post(PATH, data={**form, **change}, headers={"X-Twilio-Signature": signature})
    assert answer.status == 403
    assert not rig.events


async def test_webhook_without_a_signature_gets_403(rig: Rig) -> None:
    answer = await rig.client.post(PATH, data={"AccountSid": ACCOUNT, **RECEIPT})
    assert (answer.status, (await answer.json())["error"]["reason"]) == (403, "unsigned")


@pytest.mark.parametrize("junk", ["x", "=" * 28, "é" * 28, "A" * 2000])
async def test_signature_that_is_junk_gets_403(rig: Rig, junk: str) -> None:
    answer = await rig.client.post(PATH, data=RECEIPT, headers={"X-Twilio-Signature": junk})
    assert answer.status == 403


async def test_other_twilio_account_gets_403_even_with_a_good_signature(rig: Rig) -> None:
    answer = await rig.twilio("message-status", {**RECEIPT, "AccountSid": "AC" + "9" * 32})
    assert (answer.status, (await answer.json())["error"]["field"]) == (403, "AccountSid")


async def test_json_webhook_is_accepted_with_its_body_hash(rig: Rig) -> None:
    body = json.dumps({"AccountSid": ACCOUNT, **RECEIPT, "ErrorCode": 30003})
    url, signature = sign_twilio_json(BASE + PATH, body, TOKEN)
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/json"}
    assert (await rig.client.post(url.removeprefix(BASE), data=body, headers=headers)).status == 204
    assert rig.events[0].data.error_code == 30003


async def test_json_webhook_whose_body_or_hash_was_changed_gets_403(rig: Rig) -> None:
    body = json.dumps({"AccountSid": ACCOUNT, **RECEIPT})
    url, signature = sign_twilio_json(BASE + PATH, body, TOKEN)
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/json"}
    target = url.removeprefix(BASE)
    assert (await rig.client.post(target, data=body.replace("sent", "read"), headers=headers)).status == 403
    assert (await rig.client.post(PATH, data=body, headers=headers)).status == 403
    plain = RequestValidator(TOKEN).compute_signature(BASE + PATH, {})
    headers["X-Twilio-Signature"] = plain
    assert (await rig.client.post(PATH, data=body, headers=headers)).status == 403, "signed without its body"
    assert not rig.events


@pytest.mark.parametrize("rig", ["insecure"], indirect=True)
async def test_unsigned_webhooks_are_taken_only_when_told_so(rig: Rig) -> None:
    assert (await rig.client.post(PATH, data={"AccountSid": ACCOUNT, **RECEIPT})).status == 204


def settings(**changes: Any) -> IngestSettings:
    known: dict[str, Any] = {
        "kafka_bootstrap_servers": "127.0.0.1:9092",
        "twilio_account_sid": ACCOUNT,
        "twilio_auth_token": SecretStr("t"),
        "public_base_url": BASE,
        "directory": "deploy/examples/lender.yaml",
        **changes,
    }
    return IngestSettings.load(**known)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.4", "ingest.internal"])
def test_unsigned_webhooks_are_refused_together_with_a_bind_beyond_loopback(host: str) -> None:
    with pytest.raises(SettingsError, match="RINGBACK_INSECURE_WEBHOOKS=1 is refused"):
        settings(insecure_webhooks=True, ingest_host=host)
    assert settings(insecure_webhooks=True, ingest_host="127.0.0.1").insecure_webhooks
    assert settings(ingest_host=host).ingest_host == host


def test_settings_name_test_numbers_that_are_none() -> None:
    assert settings(test_numbers="+12125550198, +12125550197").test_callers == {"+12125550198", "+12125550197"}
    with pytest.raises(SettingsError, match="RINGBACK_TEST_NUMBERS"):
        settings(test_numbers="555")
