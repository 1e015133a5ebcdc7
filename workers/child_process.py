"""The parent's handle on its child: start it, talk to it, know when it died, kill it."""

import multiprocessing
import os
from multiprocessing.connection import Connection, wait
from typing import cast

import structlog

from models.catalog import ModelCard
from workers.messages import (
    Cancel,
    ChildSetup,
    Command,
    Event,
    Loaded,
    LoadFailed,
    Render,
)

END_S = 5.0
"""A killed process that a driver holds in the kernel is not waited for longer than this."""

log = structlog.stdlib.get_logger(__name__)


class ChildDied(Exception):  # says what happened
    """The child ended; whatever it had finished was said before."""


class ChildProcess:
    """One child with one model.

    Start it from the main thread only: the kernel kills it when the thread that started it ends.
    """

    def __init__(self, card: ModelCard, *, device: str, log_level: str) -> None:
        self.card = card
        self.is_loaded = False
        context = multiprocessing.get_context("spawn")
        self._pipe, childs_end = context.Pipe()
        setup = ChildSetup(card, device, log_level, parent_pid=os.getpid())
        self._process = context.Process(
            target=_run_child, args=(childs_end, setup), name=f"render-{card.id}"
        )
        self._process.start()
        # With this end closed here, the pipe ends when the child does.
        childs_end.close()
        log.info("child_started", model=card.id, device=device, child_pid=self._process.pid)

    @property
    def is_ready(self) -> bool:
        """Whether it lives with its model loaded."""
        return self.is_loaded and self._process.is_alive()

    def render(self, batch: Render) -> None:
        """Hand over a batch; the child loads its model first if it has not yet."""
        self._send(batch)

    def cancel(self) -> None:
        """Ask the child to stop its batch within one step."""
        self._send(Cancel())

    def next_event(self, timeout_s: float) -> Event | None:
        """What the child says next, or None when it says nothing for `timeout_s` seconds.

        Raises:
            ChildDied: it ended, and everything it had said is heard.
        """
        ready = wait([self._pipe, self._process.sentinel], timeout_s)
        if not ready:
            return None
        if not self._pipe.poll():
            raise ChildDied
        try:
            event = cast("Event", self._pipe.recv())
        except (EOFError, OSError):
            raise ChildDied from None
        if isinstance(event, Loaded):
            self.is_loaded = True
        if isinstance(event, LoadFailed):
            log.error("model_not_loaded", model=self.card.id, reason=event.reason)
        return event

    def kill(self) -> None:
        """End the child at once, whatever it does; safe to call again."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join(END_S)
        log.info("child_ended", model=self.card.id, exit_code=self._process.exitcode)
        self._pipe.close()

    def _send(self, command: Command) -> None:
        try:
            self._pipe.send(command)
        except OSError:
            # It died; `next_event` tells.
            return


def _run_child(pipe: Connection, setup: ChildSetup) -> None:
    """What the spawned process runs; the renderer's imports happen there and never here."""
    from workers.child import child_main

    child_main(pipe, setup)
