"""Waiting for something to become true, without guessing how long it takes."""

import time
from collections.abc import Callable

POLL_S = 0.02


def wait_until(is_true: Callable[[], object], *, within_s: float = 120.0) -> None:
    """Return as soon as `is_true()`; fail after `within_s` seconds."""
    until = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < until, "it did not become true in time"
        time.sleep(POLL_S)
