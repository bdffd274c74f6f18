"""The operations port of every service: /healthz, /readyz, /metrics, and /idle and /state while the clock is a file."""

import errno
from importlib.metadata import version
from typing import Final

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from services.runtime.errors import ConfigurationError, TransientError
from services.runtime.health import Health
from services.runtime.stopping import CLOSE_LIMIT_S

VERSION: Final = version("ringback")
"""As pyproject.toml has it."""
_build = Info("ringback_build", "Version of the running service.")


class CannotListen(TransientError):
    """A port is in use: by a process that is about to end, or by another service."""


def ops_app(health: Health, *, with_idle: bool, registry: CollectorRegistry = REGISTRY) -> web.Application:
    """Return the operations application."""

    async def healthz(_: web.Request) -> web.Response:
        stalled = health.stalled()
        return web.json_response(
            {"status": "stalled" if stalled else "ok", "stalled": stalled}, status=503 if stalled else 200
        )

    async def readyz(_: web.Request) -> web.Response:
        waiting = dict(health.not_ready)
        said = {"ready": not waiting, "waiting_for": waiting, "warnings": dict(health.warnings)}
        return web.json_response(said, status=503 if waiting else 200)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def idle(_: web.Request) -> web.Response:
        busy = await health.busy_with()
        return web.json_response({"idle": not busy, "busy_with": busy})

    async def state(_: web.Request) -> web.Response:
        return web.json_response({name: told() for name, told in health.states.items()})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    if with_idle:
        app.add_routes([web.get("/idle", idle), web.get("/state", state)])
    return app


async def serve(app: web.Application, host: str, port: int, *, setting: str) -> tuple[web.AppRunner, int]:
    """Serve an application; return its runner (clean it up to stop) and the port it got.

    Args:
        app: what to serve.
        host: where.
        port: 0 takes any free one.
        setting: what the settings of host and port are called, without `_HOST` and `_PORT`.

    Raises:
        CannotListen: the port is in use.
        ConfigurationError: this machine has no such address, or this process may not use the port.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_LIMIT_S)
    await runner.setup()
    site = web.TCPSite(runner, host, port, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"{setting}_PORT: port {port} of {host} is in use") from error
        if error.errno == errno.EACCES:
            raise ConfigurationError(f"{setting}_PORT: this process may not listen on port {port}") from error
        raise ConfigurationError(f"{setting}_HOST: this machine cannot listen on {host}") from error
    sockets = site._server.sockets if site._server else ()  # type: ignore[attr-defined]
    return runner, next((int(sock.getsockname()[1]) for sock in sockets), port)


def name_build(service: str) -> None:
    """Set `ringback_build_info`."""
    _build.info({"version": VERSION, "service": service})
