"""The child process: owns the device, keeps one model warm, renders batch after batch.

It is spawned for one model and ends with it. It reports over the pipe only; the parent speaks to
the gateway. It cannot outlive its parent.
"""

import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import NoReturn, cast

import structlog

from models.pipeline import Canceled, VideoPipeline
from models.registry import create_pipeline
from models.spec import Stage
from workers.clips import write_clip
from workers.failures import describe_failure
from workers.logs import configure_logging
from workers.messages import (
    BatchEnded,
    Cancel,
    ChildSetup,
    Command,
    Event,
    Finished,
    Loaded,
    LoadFailed,
    Render,
    Stepped,
)

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h: the signal this process gets when its parent ends."""

log = structlog.stdlib.get_logger(__name__)


def child_main(pipe: Connection, setup: ChildSetup) -> None:
    """Serve the parent until it ends; returns when the model cannot be loaded."""
    _die_with_parent(setup.parent_pid)
    # A Ctrl-C reaches the whole terminal; when to stop is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    configure_logging(setup.log_level)
    talk = _Talk(pipe)
    try:
        pipeline = create_pipeline(setup.card)
        pipeline.load(setup.card, setup.device)
    except Exception as error:
        log.exception("model_load_failed", model=setup.card.id, device=setup.device)
        talk.say(LoadFailed(f"{type(error).__name__}: {error}"))
        return
    talk.say(Loaded())
    while True:
        command = talk.listen()
        if isinstance(command, Render):
            _render(pipeline, command, talk)
            talk.say(BatchEnded())


def _render(pipeline: VideoPipeline, batch: Render, talk: "_Talk") -> None:
    """Render a batch, answering every order of it once."""
    unanswered = list(batch.orders)
    try:
        clips = pipeline.generate([order.spec for order in batch.orders], talk.step)
        for order, clip in zip(batch.orders, clips, strict=True):
            write_clip(clip, order, talk.step)
            talk.say(Finished(order.job_id))
            unanswered.remove(order)
    except Exception as error:
        if not isinstance(error, Canceled):
            log.exception("batch_failed", jobs=[order.job_id for order in unanswered])
        for order in unanswered:
            talk.say(describe_failure(order, error))


class _Talk:
    """The child's end of the pipe. A parent that is gone ends the process at once."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def say(self, event: Event) -> None:
        try:
            self._pipe.send(event)
        except OSError:
            _end_orphaned()

    def listen(self) -> Command:
        try:
            return cast("Command", self._pipe.recv())
        except (EOFError, OSError):
            _end_orphaned()

    def step(self, stage: Stage, done: int, total: int) -> None:
        """The step callback: report, and stop the batch when the parent says so."""
        self.say(Stepped(stage, done, total))
        while self._pipe.poll():
            if isinstance(self.listen(), Cancel):
                raise Canceled


def _die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, however it ends.

    Elsewhere than on Linux the closed pipe is noticed at the next step or between batches.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have ended before the kernel was asked.
    if os.getppid() != parent_pid:
        _end_orphaned()


def _end_orphaned() -> NoReturn:
    os._exit(1)
