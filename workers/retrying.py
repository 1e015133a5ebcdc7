"""Calling a gateway that may be away: try again, more and more slowly, until told to give up."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import structlog

from workers.gateway_client import GatewayUnavailable

FIRST_WAIT_S = 0.25
MAX_WAIT_S = 15.0
TICK_S = 0.2

ResultT = TypeVar("ResultT")
log = structlog.stdlib.get_logger(__name__)


class GaveUp(Exception):  # says what happened
    """The gateway stayed away until nobody needed the answer any more."""


def backoff_s(max_wait_s: float = MAX_WAIT_S) -> Iterator[float]:
    """Waits in seconds, doubling from a quarter of a second up to `max_wait_s`, for ever."""
    wait_s = FIRST_WAIT_S
    while True:
        yield wait_s
        wait_s = min(wait_s * 2, max_wait_s)


def pause(seconds: float, should_end: Callable[[], bool]) -> bool:
    """Sleep in short ticks; returns early with True as soon as `should_end()` says so."""
    until = time.monotonic() + seconds
    while not should_end():
        left_s = until - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(TICK_S, left_s))
    return True


def until_available(call: Callable[[], ResultT], *, give_up: Callable[[], bool]) -> ResultT:
    """The result of `call()`, tried again for as long as the gateway is unavailable.

    Raises:
        GaveUp: `give_up()` became true while waiting; it is asked several times a second.
    """
    for wait_s in backoff_s():
        try:
            return call()
        except GatewayUnavailable as error:
            log.warning("gateway_unavailable", reason=str(error), next_try_s=wait_s)
        if pause(wait_s, give_up):
            break
    raise GaveUp
