"""`python -m deploy.sandbox`: start the sandbox, print its URL in one line of JSON, and run until SIGTERM or SIGINT."""

import argparse
import asyncio
import json
import os
import signal
import sys

import uvloop
from pydantic import ValidationError

from deploy.sandbox.server import Sandbox
from deploy.sandbox.settings import ACCOUNT_SID, SandboxSettings
from schemas.problems import problems_of
from services.runtime import logs


def parse(argv: list[str] | None = None) -> SandboxSettings:
    """Return settings from the command line; the services' environment variables are its defaults."""
    env = os.environ
    parser = argparse.ArgumentParser(prog="python -m deploy.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--account-sid", default=env.get("RINGBACK_TWILIO_ACCOUNT_SID", ACCOUNT_SID))
    parser.add_argument("--auth-token", default=env.get("RINGBACK_TWILIO_AUTH_TOKEN", "sandbox-auth-token"))
    parser.add_argument(
        "--public-base-url",
        default=env.get("RINGBACK_PUBLIC_BASE_URL", "http://127.0.0.1:8080"),
        help="what webhooks are signed for",
    )
    parser.add_argument("--webhook-base", help="where that base really listens, if elsewhere")
    parser.add_argument("--clock", default=env.get("RINGBACK_CLOCK", "system"), help="`system`, or a clock file")
    parser.add_argument("--borrowers", action="store_true", help="simulate borrowers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="append", default=[], metavar="NUMBER", help="an officer's phone; repeatable")
    parser.add_argument("--log-level", default=env.get("RINGBACK_LOG_LEVEL", "WARNING"))
    for share in ("reply", "opt-out", "help", "undelivered"):
        parser.add_argument(f"--{share}-share", type=float, metavar="SHARE")
    for share in ("drop", "duplicate", "reorder"):
        parser.add_argument(f"--callback-{share}", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--callback-statuses", default="queued,sent,final", help="which of queued,sent,final call back")
    parser.add_argument("--step-s", type=float, default=0.03, help="real seconds from one status of a text to the next")
    given = parser.parse_args(argv)
    logs.set_up("sandbox", given.log_level)
    shares = {name: getattr(given, f"{name}_share") for name in ("reply", "opt_out", "help", "undelivered")}
    try:
        return SandboxSettings.model_validate(
            {
                name: getattr(given, name)
                for name in (
                    "host",
                    "port",
                    "account_sid",
                    "auth_token",
                    "public_base_url",
                    "webhook_base",
                    "clock",
                    "borrowers",
                    "seed",
                    "quiet",
                    "step_s",
                )
            }
            | {
                "shares": {name: value for name, value in shares.items() if value is not None},
                "callback_faults": {
                    name: getattr(given, f"callback_{name}") for name in ("drop", "duplicate", "reorder")
                },
                "status_steps": tuple(filter(None, given.callback_statuses.split(","))),
            }
        )
    except ValidationError as error:
        parser.error("; ".join(f"{where}: {why}" if where else why for where, why in problems_of(error)))


async def run(settings: SandboxSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with Sandbox(settings) as sandbox:
        print(json.dumps({"url": sandbox.url, "pid": os.getpid()}), flush=True)
        await stop.wait()


if __name__ == "__main__":
    chosen = parse()
    try:
        uvloop.run(run(chosen))
    except (OSError, ValueError) as error:
        sys.exit(f"the sandbox cannot start: {error}")
