"""Kafka away: creating and checking topics end in one line that says where it was looked for and what to do."""

import socket
from collections.abc import Awaitable, Callable

import pytest

from services.runtime.errors import TransientError
from services.runtime.topics_admin import check_topics, create_topics


@pytest.fixture
def nothing_there() -> str:
    """A port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("ask", [create_topics, check_topics])
async def test_nothing_listens_one_line_says_so(ask: Callable[[str], Awaitable[object]], nothing_there: str) -> None:
    with pytest.raises(TransientError) as found:
        await ask(nothing_there)
    said = str(found.value)
    assert said.startswith(f"Kafka does not answer at {nothing_there}")
    assert "RINGBACK_KAFKA_BOOTSTRAP_SERVERS" in said
    assert "\n" not in said
