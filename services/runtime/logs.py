"""Structured logs: JSON in containers, color on a terminal, and never a full phone number or a message's body."""

import logging
import re
import sys
from typing import Final

import structlog

NUMBER: Final = re.compile(r"\+?\d{7,15}(?!\d)")
GROUPED: Final = re.compile(r"(?<!\w)(?:\+?1[-. ]?)?\(?\d{3}\)?[-. ]{0,2}\d{3}[-. ]\d{4}(?!\d)")
"""A number in groups, as people write it: 212-555-0123, (212) 555-0123."""
ID: Final = re.compile(
    r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?=\d*[a-f])[0-9a-f]{20,}",
    re.IGNORECASE,
)
"""A traceparent, a UUID, or a long run of hexadecimal digits with a letter among them: what looks like a number in it is none."""
DEPTH: Final = 4
"""How deep a value of a log line is looked into."""
BODY_KEYS: Final = frozenset({"body", "text", "transcript", "message_body"})


def mask(text: str) -> str:
    """Return text with every phone number cut down to its last two digits; ids (long hex) are left alone."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found.group())
        return f"\x00{len(kept) - 1}\x00"

    masked = NUMBER.sub(
        lambda found: (
            "***" + found.group()[-2:] if found.group()[0] == "+" or len(found.group()) >= 10 else found.group()
        ),
        GROUPED.sub(lambda found: "***" + found.group()[-2:], ID.sub(keep, text)),
    )
    return re.sub("\x00(\\d+)\x00", lambda found: kept[int(found.group(1))], masked)


def _masked(value: object, depth: int = 0) -> object:
    """Mask every text in a value, as deep as log lines are nested."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, bytes):
        return mask(value.decode(errors="replace"))
    if isinstance(value, dict) and depth < DEPTH:
        return {key: _masked(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < DEPTH:
        return [_masked(item, depth + 1) for item in value]
    return value


def hide_borrowers(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Mask numbers and drop bodies from every log line, whoever wrote it."""
    return {
        key: value if key in ("timestamp", "level", "exc_info") else "[hidden]" if key in BODY_KEYS else _masked(value)
        for key, value in event.items()
    }


def set_up(service: str, level: str = "INFO", form: str = "json") -> None:
    """Send structlog and the standard library's logging through one masked pipeline to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_borrowers,
    ]
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if form == "console" else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, hide_borrowers, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Levels of the loggers, not the handler: making records that nobody reads cost 14 % of Faust's time.
    for name in ("aiokafka", "faust", "mode", "pymongo", "motor", "twilio", "aiohttp.access"):
        logging.getLogger(name).setLevel("WARNING")
    structlog.contextvars.bind_contextvars(service=service)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
