"""Waiting for something to become true, with a deadline and a reason; never a sleep that hopes."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

from services.runtime.clock import monotonic_s

T = TypeVar("T")


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], timeout_s: float = ..., why: str = ..., every_s: float = ...
) -> T: ...
@overload
async def eventually(check: Callable[[], T], timeout_s: float = ..., why: str = ..., every_s: float = ...) -> T: ...
async def eventually(
    check: Callable[[], T | Awaitable[T]], timeout_s: float = 10.0, why: str = "", every_s: float = 0.02
) -> T:
    """Return the first true value of `check`; assertion errors count as not yet.

    Raises:
        AssertionError: it never became true in time; says the last value or failure.
    """
    until = monotonic_s() + timeout_s
    last: object = None
    while True:
        try:
            found = check()
            value: T = await found if inspect.isawaitable(found) else found
            if value:
                return value
            last = value
        except AssertionError as error:
            last = error
        if monotonic_s() > until:
            raise AssertionError(f"not within {timeout_s:.0f} s: {why}; last: {last!r}")
        await asyncio.sleep(every_s)


def eventually_now(check: Callable[[], bool], timeout_s: float, why: str, every_s: float = 0.05) -> None:
    """Wait, without an event loop, until `check` is true.

    Raises:
        AssertionError: it never became true in time.
    """
    until = monotonic_s() + timeout_s
    while not check():
        if monotonic_s() > until:
            raise AssertionError(f"not within {timeout_s:.0f} s: {why}")
        time.sleep(every_s)
