"""The webhooks as an aiohttp application; everything past the framework is in the shell."""

import asyncio
from typing import Final

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from services.ingest import metrics, routes
from services.ingest.errors import UnreadableBody
from services.ingest.settings import BODY_LIMIT_BYTES
from services.ingest.shell import Ingest, Response, Webhook
from services.runtime import logs, ops
from services.runtime.clock import monotonic_s

log = logs.get(__name__)

BODY_TIME_S: Final = 10.0
"""A webhook's body arrives within milliseconds; a slower one only holds a connection open."""


def make_app(ingest: Ingest) -> web.Application:
    """Return the application with every webhook's route."""

    async def handle(request: web.Request) -> web.Response:
        resource = request.match_info.route.resource
        route = resource.canonical if resource else metrics.OTHER
        try:
            body = await _body(request)
        except UnreadableBody as error:
            return _response(ingest.reject(route, error))
        return _response(
            await ingest.handle(
                Webhook(
                    route=route,
                    target=request.raw_path,
                    query=request.query,
                    headers=request.headers,
                    content_type=request.content_type,
                    body=body,
                )
            )
        )

    app = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[_measured])
    app.add_routes([web.post(route, handle) for route in routes.ALL])
    return app


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_TIME_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise UnreadableBody("too_large", f"the body is larger than {BODY_LIMIT_BYTES} bytes") from error
    except TimeoutError as error:
        raise UnreadableBody("slow_body", f"the body took longer than {BODY_TIME_S:.0f} s") from error
    except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError, ConnectionError) as error:
        raise UnreadableBody("malformed_body", "the body broke off or is not encoded as it says") from error


def _response(response: Response) -> web.Response:
    if response.status == 204:
        return web.Response(status=204)
    return web.Response(status=response.status, text=response.body, content_type=response.content_type)


@web.middleware
async def _measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    began = monotonic_s()
    resource = request.match_info.route.resource
    route = resource.canonical if resource else metrics.OTHER
    status = 500
    try:
        response = await handler(request)
        status = response.status
    except web.HTTPException as error:
        status = error.status
        raise
    except Exception:  # a defect of ours: the sender tries again after a 500, and the log says what it was
        log.exception("defect", route=route)
        response = web.json_response({"error": {"reason": "defect", "field": None, "message": "our fault"}}, status=500)
    finally:
        method = request.method if request.method in ("GET", "POST") else metrics.OTHER
        said = str(status) if str(status) in metrics.STATUSES else metrics.OTHER
        metrics.REQUESTS.labels(route, method, said).inc()
        metrics.REQUEST_SECONDS.labels(route).observe(monotonic_s() - began)
    return response


class WebhookServer:
    """The listening socket as a part of the service; stopping it lets the webhooks under way finish."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self._app, self._host, self._port = app, host, port
        self._runner: web.AppRunner | None = None
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        """Listen."""
        self._runner, port = await ops.serve(self._app, self._host, self._port, setting="RINGBACK_INGEST")
        self.ports = {"port": port}

    async def run(self) -> None:
        """Serve until stopped."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Take no more, and finish what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()
