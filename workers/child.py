"""The child process: owns the device, keeps models warm, renders batch after batch.

It reports over the pipe only; the parent speaks to the gateway. It cannot outlive its parent, and
it ends itself where a model does not load: the next child begins with an empty device.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

import structlog

from models.card import ModelCard
from models.hub import shut_hub
from models.pipeline import Canceled, VideoPipeline
from models.pipeline import LoadFailed as RendererLost
from models.spec import Stage
from workers.logs import configure_logging
from workers.messages import (
    BatchEnded,
    Cancel,
    ChildSetup,
    Load,
    Loaded,
    LoadFailed,
    Render,
    SelfTest,
    SelfTested,
)
from workers.rendering import Rendering
from workers.selftest import run_self_test
from workers.shelf import Shelf
from workers.talk import Talk, end_orphaned
from workers.writing import Desk

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal this process gets when its parent ends."""

log = structlog.stdlib.get_logger(__name__)


def child_main(pipe: Connection, setup: ChildSetup) -> None:
    """Serve the parent until it ends; returns when a model cannot be loaded."""
    _die_with_parent(setup.parent_pid)
    # Nothing is downloaded inside a job, by a plug-in's imports neither.
    shut_hub()
    # A Ctrl-C reaches the whole terminal; when to stop is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    configure_logging(setup.log_level)
    try:
        _Child(setup, Talk(pipe)).serve()
    except _NotLoaded:
        return


class _NotLoaded(Exception):
    """A model does not load here; the parent knows."""


class _Child:
    """What the process does with each command."""

    def __init__(self, setup: ChildSetup, talk: Talk) -> None:
        self._shelf = Shelf(setup.device, setup.model_budget_bytes)
        self._talk = talk
        self._desk = Desk()

    def serve(self) -> None:
        while True:
            command = self._talk.listen()
            match command:
                case Load():
                    self._bring(command.card)
                case SelfTest():
                    self._test(command.card)
                case Render():
                    self._render(command)
                case Cancel():
                    # Its batch is over; the clip may be on its way to the disk.
                    self._desk.cancel(command.job_id)

    def _render(self, batch: Render) -> None:
        rendering = Rendering(batch, self._talk, self._desk)
        try:
            pipeline = self._bring(batch.card, lambda: rendering.step(Stage.LOADING, 0, 1))
            # It may have taken minutes.
            rendering.heed_cancels()
            rendering.run(pipeline)
        except Canceled:
            """Every order is answered."""
        except RendererLost as error:
            log.exception("model_lost", model=batch.card.id)
            raise self._not_loaded(batch.card, error) from error
        self._talk.say(BatchEnded())

    def _test(self, card: ModelCard) -> None:
        pipeline = self._bring(card)
        try:
            run_self_test(pipeline, card)
        except Exception as error:
            log.exception("self_test_failed", model=card.id)
            self._talk.say(SelfTested(_describe(error)))
        else:
            self._talk.say(SelfTested(None))

    def _bring(self, card: ModelCard, on_load: Callable[[], None] | None = None) -> VideoPipeline:
        """The renderer of `card`; `on_load` is called before a load, if there has to be one."""
        pipeline = self._shelf.find(card)
        if pipeline is None:
            if on_load is not None:
                on_load()
            try:
                pipeline = self._shelf.load(card)
            except Exception as error:
                log.exception("model_load_failed", model=card.id)
                raise self._not_loaded(card, error) from error
        self._talk.say(Loaded(card.id, self._shelf.models))
        return pipeline

    def _not_loaded(self, card: ModelCard, error: Exception) -> _NotLoaded:
        # The process ends, but not before what was rendered is on the disk.
        self._desk.wait(_ignore)
        self._talk.say(LoadFailed(card.id, _describe(error)))
        return _NotLoaded()


def _ignore() -> None:
    """Whatever the parent says, the end is near."""


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends.

    Elsewhere than on Linux the closed pipe is noticed at the next step or between batches.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended before the kernel was asked.
    if os.getppid() != parent_pid:
        end_orphaned()
