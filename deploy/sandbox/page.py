"""The page: one phone for each caller with all its texts, live. Bodies are hostile: the page sets text, never markup."""

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container
from importlib.resources import files
from typing import Any

from aiohttp import web

from deploy.sandbox.model import Message
from deploy.sandbox.store import Store
from services.runtime.clock import Clock

PHONES_SHOWN = 60
TEXTS_SHOWN = 40
PHONES_KEPT = 200_000
VIEWERS_MAX = 20
FLUSH_S = 0.25
"""How often a viewer gets changes: often enough to look live, seldom enough to cost little under load."""
BURST = 200
"""With more changes than this between two flushes, the viewer is told to load everything again, which is cheaper."""
PING_S = 15.0

ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def bubble(message: Message, opted_out: Container[tuple[str, str]]) -> dict[str, Any]:
    """Return what the page shows of a text.

    Args:
        message: the text.
        opted_out: the pairs of phone and sender between which no text goes out.
    """
    other = message.to if message.direction == "inbound" else message.from_
    return {
        "sid": message.sid,
        "n": message.n,
        "phone": message.phone,
        "other": other,
        "direction": message.direction,
        "body": message.body,
        "status": message.status,
        "error": message.error_code,
        "at": message.created_at.isoformat(),
        "opted_out": (message.phone, other or "") in opted_out,
    }


class Page:
    """Serves the page, the texts it starts with and its stream of changes."""

    def __init__(self, clock: Clock, store: Store) -> None:
        self._clock = clock
        self._store = store
        self._latest: OrderedDict[str, None] = OrderedDict()
        self._seen = 0
        self._viewers: set[_Viewer] = set()
        self._flusher: asyncio.Task[None] | None = None
        store.changed = self._changed

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        root = files("deploy.sandbox") / "static"
        index = (root / "page.html").read_bytes()
        found = [
            web.get("/", _fixed(index, "text/html")),
            web.get("/page/phones", self.phones),
            web.get("/page/events", self.events),
        ]
        return found + [
            web.get(f"/static/{name}", _fixed((root / name).read_bytes(), kind)) for name, kind in ASSETS.items()
        ]

    def start(self) -> None:
        """Begin to send changes to viewers."""
        self._flusher = asyncio.create_task(self._flush())

    async def stop(self) -> None:
        """End every viewer's stream."""
        if self._flusher is not None:
            self._flusher.cancel()
            await asyncio.gather(self._flusher, return_exceptions=True)
        for viewer in self._viewers:
            viewer.gone = True
            viewer.wake.set()

    def forget(self) -> None:
        """Forget the phones, and have every open page load again."""
        self._latest.clear()
        for viewer in self._viewers:
            viewer.resync = True

    def _changed(self, message: Message) -> None:
        if message.n > self._seen:  # a new text, not a new status
            self._seen = message.n
            self._latest[message.phone] = None
            self._latest.move_to_end(message.phone)
            if len(self._latest) > PHONES_KEPT:
                self._latest.popitem(last=False)
        for viewer in self._viewers:
            if len(viewer.dirty) < BURST:
                viewer.dirty[message.sid] = message
            else:
                viewer.resync = True

    def counts(self) -> dict[str, Any]:
        """Return the totals at the top of the page."""
        return {
            "sent": self._store.totals["outbound"],
            "replies": self._store.totals["inbound"],
            "opted_out": len(self._store.opted_out),
            "phones": len(self._latest),
            "now": self._clock.now().isoformat(),
        }

    async def phones(self, request: web.Request) -> web.Response:
        """Return the phones with the latest texts, or those whose number ends in the digits `q`."""
        digits = "".join(c for c in request.query.get("q", "")[:20] if c.isascii() and c.isdigit())
        found: list[dict[str, Any]] = []
        for number in reversed(self._latest):
            if digits and not number.endswith(digits):
                continue
            texts: list[dict[str, Any]] = []
            for message in self._store.newest_first(number):
                if message.phone == number:
                    texts.append(bubble(message, self._store.opted_out))
                if len(texts) == TEXTS_SHOWN:
                    break
            if texts:
                found.append({"phone": number, "texts": texts[::-1]})
            if len(found) == PHONES_SHOWN:
                break
        return web.json_response({"counts": self.counts(), "phones": found}, headers=HEADERS)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream changes as server-sent events until the viewer leaves."""
        if len(self._viewers) >= VIEWERS_MAX:
            raise web.HTTPServiceUnavailable(text="too many viewers")
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        viewer = _Viewer()
        self._viewers.add(viewer)
        try:
            await response.write(b"retry: 1000\n\n")
            while not viewer.gone:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PING_S):
                        await viewer.wake.wait()
                viewer.wake.clear()
                await response.write(viewer.take(self.counts(), self._store.opted_out))
        except ConnectionError:
            pass  # the viewer left
        finally:
            self._viewers.discard(viewer)
        return response

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_S)
            for viewer in self._viewers:
                if viewer.dirty or viewer.resync:
                    viewer.wake.set()


class _Viewer:
    """One open page: which texts have changed since its last event."""

    def __init__(self) -> None:
        self.dirty: dict[str, Message] = {}
        self.resync = False
        self.gone = False
        self.wake = asyncio.Event()

    def take(self, counts: dict[str, Any], opted_out: Container[tuple[str, str]]) -> bytes:
        """Return the next event and start over."""
        texts = [] if self.resync else [bubble(message, opted_out) for message in self.dirty.values()]
        data = {"counts": counts, "resync": self.resync, "texts": texts}
        self.dirty, self.resync = {}, False
        # json.dumps escapes line ends and everything not ASCII, so a body cannot end the event.
        return b"data: " + json.dumps(data).encode() + b"\n\n"


def _fixed(body: bytes, kind: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=HEADERS)

    return answer
