"""The operations port of every service: /healthz, /readyz, /metrics, and /idle and /state while the clock is a file."""

from importlib.metadata import version
from typing import Final

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from services.runtime.health import Health

VERSION: Final = version("ringback")
"""As pyproject.toml has it."""
_build = Info("ringback_build", "Version of the running service.")


def ops_app(health: Health, *, with_idle: bool, registry: CollectorRegistry = REGISTRY) -> web.Application:
    """Return the operations application."""

    async def healthz(_: web.Request) -> web.Response:
        stalled = health.stalled()
        return web.json_response(
            {"status": "stalled" if stalled else "ok", "stalled": stalled}, status=503 if stalled else 200
        )

    async def readyz(_: web.Request) -> web.Response:
        waiting = dict(health.not_ready)
        return web.json_response({"ready": not waiting, "waiting_for": waiting}, status=503 if waiting else 200)

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


async def serve(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve an application; return its runner (clean it up to stop) and the port it got."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5)
    await runner.setup()
    site = web.TCPSite(runner, host, port, reuse_address=True)
    await site.start()
    sockets = site._server.sockets if site._server else ()  # type: ignore[attr-defined]
    return runner, next((int(sock.getsockname()[1]) for sock in sockets), port)


def name_build(service: str) -> None:
    """Set `ringback_build_info`."""
    _build.info({"version": VERSION, "service": service})
