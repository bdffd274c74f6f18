"""docs/webhooks.md: every route and every field that is read stands there, and its samples pass ingest's own checks."""

import ast
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from services.ingest import routes
from services.ingest.adapters.kafka import Outlet
from services.ingest.adapters.reports import CallReportBody
from services.ingest.adapters.twilio import TwilioSignatures, Twiml
from services.ingest.adapters.unsafe import Unsafe
from services.ingest.domain.lender import Lender
from services.ingest.shell import Ingest, Webhook
from services.policy.directory import load_directory
from services.runtime.clock import SystemClock
from services.runtime.health import Health
from services.runtime.producer import FakeProducer
from tests.unit.ingest.rig import ACCOUNT, BASE, SECRET, TOKEN

ROOT: Final = Path(__file__).parents[2]
DOC: Final = (ROOT / "docs/webhooks.md").read_text()
SECTIONS: Final = dict(re.findall(r"^### POST (\S+)\n(.*?)(?=^##|\Z)", DOC, re.M | re.S))
SAMPLES: Final = re.findall(r"^<!-- tested: (\w+) -->\n```(\w+)\n(.*?)^```", DOC, re.M | re.S)
ENVIRONMENT: Final = {
    "RINGBACK_PUBLIC_BASE_URL": BASE, "RINGBACK_WEBHOOK_SECRET": SECRET,
    "RINGBACK_TWILIO_ACCOUNT_SID": ACCOUNT, "RINGBACK_TWILIO_AUTH_TOKEN": TOKEN,
}  # fmt: skip
CURL: Final = """#!{python}
import json, sys
json.dump(sys.argv[1:], open({file!r}, "w"))
"""


def read_by_code(route: str) -> set[str]:
    """Return the fields that the reader of a Twilio route asks for; `?` marks those of the query."""
    texts = route in (routes.SMS, routes.MESSAGE_STATUS)
    source = ROOT / f"services/ingest/domain/twilio_{'texts' if texts else 'calls'}.py"
    name = route.rpartition("/")[2].replace("-", "_")
    [reader] = [
        node for node in ast.parse(source.read_text()).body if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    found = set()
    for node in ast.walk(reader):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            whose, asked = node.func.value.id, node.func.attr
            if whose in ("form", "query") and asked == "time":
                found.add("Timestamp")
            elif whose in ("form", "query"):
                found.add(f"{'?' if whose == 'query' else ''}{ast.literal_eval(node.args[0])}")
    return found


def documented(route: str) -> set[str]:
    """Return the fields in a route's table."""
    return set(re.findall(r"^\| `([?\w]+)` \|", SECTIONS[route], re.M))


def test_every_route_has_its_section_and_there_is_no_other() -> None:
    assert set(SECTIONS) == set(routes.ALL)


@pytest.mark.parametrize("route", routes.TWILIO)
def test_table_of_a_twilio_route_has_exactly_the_fields_that_are_read(route: str) -> None:
    assert documented(route) == read_by_code(route)


def test_table_of_reported_calls_has_exactly_the_fields_that_are_read() -> None:
    assert documented(routes.CALLS) == {field.alias or name for name, field in CallReportBody.model_fields.items()}


def by_shell(code: str, tmp_path: Path, _: pytest.MonkeyPatch) -> tuple[str, dict[str, str], bytes]:
    """Run a shell sample with a curl that only writes down its arguments; return URL, headers and body."""
    curl, file = tmp_path / "curl", tmp_path / "arguments.json"
    curl.write_text(CURL.format(python=sys.executable, file=str(file)))
    curl.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-euc", code], env={**ENVIRONMENT, "PATH": path}, check=True, timeout=30)
    *options, url = json.loads(file.read_text())
    pairs = list(zip(options[::2], options[1::2], strict=True))
    headers = dict(value.split(": ", 1) for name, value in pairs if name == "--header")
    form = [tuple(value.split("=", 1)) for name, value in pairs if name == "--data-urlencode"]
    raw = [value for name, value in pairs if name == "--data-binary"]
    return url, headers, "".join(raw).encode() or urlencode(form).encode()


def by_python(code: str, _: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, str], bytes]:
    """Run a Python sample with a urlopen that only keeps the request; return URL, headers and body."""
    kept: list[urllib.request.Request] = []
    monkeypatch.setattr(urllib.request, "urlopen", kept.append)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    exec(compile(code, "docs/webhooks.md", "exec"), {})
    [request] = kept
    assert isinstance(request.data, bytes)
    return request.full_url, dict(request.header_items()), request.data


RUN: Final[dict[str, Callable[[str, Path, pytest.MonkeyPatch], tuple[str, dict[str, str], bytes]]]] = {
    "sh": by_shell, "python": by_python,
}  # fmt: skip


def test_both_kinds_of_signature_have_a_sample_in_shell_and_in_python() -> None:
    assert [(kind, language) for kind, language, _ in SAMPLES] == [
        ("calls", "sh"),
        ("calls", "python"),
        ("twilio", "sh"),
        ("twilio", "python"),
    ]


@pytest.mark.parametrize(("kind", "language", "code"), SAMPLES, ids=[f"{kind} {name}" for kind, name, _ in SAMPLES])
async def test_sample_is_accepted_and_not_with_another_body(
    kind: str, language: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, headers, body = RUN[language](code, tmp_path, monkeypatch)
    directory, producer = load_directory(ROOT / "deploy/examples/lender.yaml"), FakeProducer()
    outlet = Outlet(producer=producer, health=Health(), limit_s=1.0)
    ingest = Ingest(
        lender=Lender(directory),
        clock=SystemClock(),
        unsafe=Unsafe(outlet=outlet, health=Health(), partitions=12),
        signatures=TwilioSignatures(BASE, (TOKEN,)),
        account_sid=ACCOUNT,
        twiml=Twiml(BASE, "", directory.name),
        secrets=(SECRET,),
    )

    async def answer(sent: bytes) -> int:
        split = urlsplit(url)
        known: dict[str, Any] = {name.lower(): value for name, value in headers.items()}
        webhook = Webhook(
            route=split.path,
            target=f"{split.path}?{split.query}" if split.query else split.path,
            query=dict(parse_qsl(split.query)),
            headers={
                "Ringback-Signature": known.get("ringback-signature", ""),
                "X-Twilio-Signature": known.get("x-twilio-signature", ""),
            },
            content_type=known.get("content-type", "application/x-www-form-urlencoded"),
            body=sent,
        )
        return (await ingest.handle(webhook)).status

    assert await answer(body) == {"calls": 202, "twilio": 204}[kind]
    assert [event.type for event in producer.sent] == [{"calls": "call.completed", "twilio": "receipt.received"}[kind]]
    assert await answer(body.replace(b"3035550123", b"3035550124")) == 403
