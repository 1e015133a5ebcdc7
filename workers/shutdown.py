"""SIGTERM and SIGINT: the first asks the worker to finish, the second ends it at once."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rq.exceptions import StopRequested

SIGNAL_EXIT = 128


class StopSignal:
    """Whether and when the worker was asked to stop.

    Where the main thread waits for a delivery, the request ends the wait with `StopRequested`,
    the exception that RQ's loop ends on; everywhere else it is only noted and looked up.
    """

    def __init__(self) -> None:
        self._requested_at: float | None = None
        self._may_interrupt = False

    def install(self) -> None:
        """Take over both signals; from the main thread only."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    @property
    def is_requested(self) -> bool:
        """Whether the worker is to claim nothing more."""
        return self._requested_at is not None

    def is_drained(self, drain_s: float) -> bool:
        """Whether the request is older than `drain_s` seconds."""
        return self._requested_at is not None and self.age_s >= drain_s

    @property
    def age_s(self) -> float:
        """Seconds since the request; 0 without one."""
        return 0.0 if self._requested_at is None else time.monotonic() - self._requested_at

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Inside, a request raises `StopRequested` at once, an earlier one on entry."""
        before, self._may_interrupt = self._may_interrupt, True
        try:
            self._raise_if_requested()
            yield
        finally:
            self._may_interrupt = before

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Inside `interrupting`, a stretch of work that a request must not break."""
        before, self._may_interrupt = self._may_interrupt, False
        try:
            yield
        finally:
            self._may_interrupt = before
        self._raise_if_requested()

    def _raise_if_requested(self) -> None:
        if self._may_interrupt and self.is_requested:
            raise StopRequested

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        if self.is_requested:
            os._exit(SIGNAL_EXIT + signum)
        self._requested_at = time.monotonic()
        self._raise_if_requested()
