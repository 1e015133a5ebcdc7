"""The parent's handle on its child: start it, talk to it, know when it died, kill it."""

import multiprocessing
import os
from multiprocessing.connection import Connection, wait
from typing import cast

import structlog

from workers.messages import (
    Cancel,
    ChildSetup,
    Command,
    Event,
    Load,
    Loaded,
    LoadFailed,
    Render,
    SelfTest,
)

END_S = 5.0
"""A killed process that a driver holds in the kernel is not waited for longer than this."""

log = structlog.stdlib.get_logger(__name__)


class ChildDied(Exception):  # says what happened
    """The child ended; whatever it had finished was said before."""


class ChildProcess:
    """One child and what is known of its models.

    Start it from the main thread only: the kernel kills it when the thread that started it ends.

    Attributes:
        loaded_models: those on the device, the one used last comes last.
        is_loading: it was given something to do and has not said yet that the model is there.
        load_failure: why a model did not load; the child has ended, or is about to.
    """

    def __init__(self, *, device: str, model_budget_bytes: int, log_level: str) -> None:
        self.loaded_models: tuple[str, ...] = ()
        self.is_loading = False
        self.load_failure: str | None = None
        self._has_died = False
        context = multiprocessing.get_context("spawn")
        self._pipe, childs_end = context.Pipe()
        setup = ChildSetup(device, model_budget_bytes, log_level, parent_pid=os.getpid())
        self._process = context.Process(target=_run_child, args=(childs_end, setup), name="render")
        self._process.start()
        # With this end closed here, the pipe ends when the child does.
        childs_end.close()
        log.info("child_started", device=device, child_pid=self._process.pid)

    @property
    def loaded_model(self) -> str | None:
        """The model used last, None before the first."""
        return self.loaded_models[-1] if self.loaded_models else None

    @property
    def is_ready(self) -> bool:
        """Whether it lives with a model loaded."""
        if self._has_died or self.load_failure is not None:
            return False
        return self.loaded_model is not None and self._process.is_alive()

    def give(self, work: Load | SelfTest | Render) -> None:
        """Hand over the next thing to do; the child loads the model first if it has to."""
        self.is_loading = True
        self._send(work)

    def cancel(self, job_id: str) -> None:
        """Say that nobody waits for this job of the batch any more."""
        self._send(Cancel(job_id))

    def next_event(self, timeout_s: float) -> Event | None:
        """What the child says next, or None when it says nothing for `timeout_s` seconds.

        Raises:
            ChildDied: it ended, and everything it had said is heard.
        """
        ready = wait([self._pipe, self._process.sentinel], timeout_s)
        if not ready:
            return None
        try:
            if not self._pipe.poll():
                raise EOFError  # noqa: TRY301  # as the pipe itself says it
            event = cast("Event", self._pipe.recv())
        except (EOFError, OSError):
            # The pipe may end a moment before the process does.
            self._has_died = True
            if self.is_loading and self.load_failure is None:
                self.load_failure = "the renderer ended while it loaded a model"
            raise ChildDied from None
        self._note(event)
        return event

    def kill(self) -> None:
        """End the child at once, whatever it does; safe to call again."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join(END_S)
        log.info("child_ended", model=self.loaded_model, exit_code=self._process.exitcode)
        self._pipe.close()

    def _note(self, event: Event) -> None:
        match event:
            case Loaded():
                self.loaded_models = event.kept
                self.is_loading = False
            case LoadFailed():
                self.load_failure = f"model {event.model} does not load: {event.reason}"
                log.error("model_not_loaded", model=event.model, reason=event.reason)
            case _:
                """Says nothing of the child itself."""

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
