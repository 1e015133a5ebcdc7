"""One batch in the child, watched by the parent until every job of it is answered.

rendering --all jobs dropped or canceled, deadline, drain over--> stopping
rendering, stopping --every job answered by the child--> over
rendering, stopping --the child died--> over, the rest is lost
stopping --the child stays deaf for the grace time--> killed --> over
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from gateway.protocol import AttemptRef, FailureCode, Progress
from workers.child_process import ChildDied, ChildProcess
from workers.lease import LeaseKeeper
from workers.live import LiveChannel, ProgressGate
from workers.messages import (
    BatchEnded,
    Event,
    Failed,
    Finished,
    Loaded,
    LoadFailed,
    Render,
    RenderOrder,
    Stepped,
)
from workers.shutdown import StopSignal

TICK_S = 0.5

log = structlog.stdlib.get_logger(__name__)


class StopReason(Enum):
    """Why the parent no longer wants a job rendered."""

    DROPPED = "dropped"
    CANCELED = "canceled"
    DEADLINE = "deadline"
    DRAINED = "drained"


@dataclass(frozen=True)
class Surroundings:
    """What a batch is watched with. `tick` is called twice a second or more."""

    lease: LeaseKeeper
    live: LiveChannel
    stop: StopSignal
    tick: Callable[[], None]
    cancel_grace_s: float
    drain_s: float


Outcome = tuple[RenderOrder, Finished | Failed | None]
"""An order and how it ended; None where nobody waits for it any more."""


class Batch:
    """Renders `orders` in `child`; afterwards `child` is ready for the next batch or dead."""

    def __init__(
        self,
        orders: Sequence[RenderOrder],
        child: ChildProcess,
        around: Surroundings,
        *,
        deadline_at: float,
    ) -> None:
        self._open = {order.job_id: order for order in orders}
        self._child = child
        self._around = around
        self._deadline_at = deadline_at
        self._unwanted: dict[str, StopReason] = {}
        self._canceled_at: float | None = None
        self._gate = ProgressGate()

    def run(self) -> Iterator[Outcome]:
        """Render; yields every order once, as soon as its end is known."""
        self._child.render(Render(tuple(self._open.values())))
        while True:
            try:
                event = self._child.next_event(TICK_S)
            except ChildDied:
                yield from self._end_all(_LOST)
                return
            if isinstance(event, BatchEnded):
                return
            yield from self._hear(event)
            self._around.tick()
            self._look_around()
            if self._is_deaf():
                log.warning("child_killed", reason=self._reason_text())
                self._child.kill()
                yield from self._end_all(_LOST)
                return

    def _hear(self, event: Event | None) -> Iterator[Outcome]:
        match event:
            case Stepped():
                self._publish(event)
            case Loaded():
                # Deaf while it was loading: its time to answer a cancel begins now.
                self._canceled_at = self._canceled_at and time.monotonic()
            case LoadFailed():
                yield from self._end_all(_NOT_LOADED)
            case Finished() | Failed():
                yield self._answer(self._open.pop(event.job_id), event)

    def _look_around(self) -> None:
        """Notice what makes jobs unwanted; cancel the child once none is wanted."""
        for job_id, order in self._open.items():
            if job_id not in self._unwanted and (reason := self._find_reason(order)):
                log.info("job_unwanted", job_id=job_id, reason=reason.value)
                self._unwanted[job_id] = reason
        is_wanted = any(job_id not in self._unwanted for job_id in self._open)
        if self._open and not is_wanted and self._canceled_at is None:
            self._canceled_at = time.monotonic()
            self._child.cancel()

    def _find_reason(self, order: RenderOrder) -> StopReason | None:
        around = self._around
        if around.lease.is_dropped(AttemptRef(job_id=order.job_id, attempt=order.attempt)):
            return StopReason.DROPPED
        if around.live.is_canceled(order.job_id):
            return StopReason.CANCELED
        if time.monotonic() >= self._deadline_at:
            return StopReason.DEADLINE
        if around.stop.is_drained(around.drain_s):
            return StopReason.DRAINED
        return None

    def _is_deaf(self) -> bool:
        """Whether the child had its time to answer a cancel.

        One that is still loading for jobs the client no longer wants is left to load: the next
        job needs it.
        """
        if self._canceled_at is None:
            return False
        is_urgent = time.monotonic() >= self._deadline_at or self._around.stop.is_requested
        if not self._child.is_loaded and not is_urgent:
            return False
        return time.monotonic() - self._canceled_at >= self._around.cancel_grace_s

    def _end_all(self, ending: "_Ending") -> Iterator[Outcome]:
        for job_id in list(self._open):
            failed = ending.of(job_id)
            yield self._answer(self._open.pop(job_id), failed, is_child_lost=True)

    def _answer(
        self, order: RenderOrder, event: Finished | Failed, *, is_child_lost: bool = False
    ) -> Outcome:
        """What to report: the parent's reason to stop explains a failure, not a success."""
        reason = self._unwanted.get(order.job_id)
        if reason is StopReason.DROPPED:
            return order, None
        if reason is None or isinstance(event, Finished):
            return order, event
        ending = _STOPPED[reason]
        # A renderer that heard nothing was stuck; elsewhere the job may well be in time.
        retryable = ending.retryable or (reason is StopReason.DEADLINE and is_child_lost)
        return order, Failed(order.job_id, ending.code, ending.message, retryable)

    def _publish(self, step: Stepped) -> None:
        if not self._gate.passes(step.stage):
            return
        for job_id, order in self._open.items():
            progress = Progress(
                attempt=order.attempt, stage=step.stage, done=step.done, total=step.total
            )
            self._around.live.publish(job_id, progress)

    def _reason_text(self) -> str:
        return ",".join(sorted({reason.value for reason in self._unwanted.values()}))


@dataclass(frozen=True)
class _Ending:
    code: FailureCode
    message: str
    retryable: bool

    def of(self, job_id: str) -> Failed:
        return Failed(job_id, self.code, self.message, self.retryable)


_LOST = _Ending(FailureCode.WORKER_LOST, "The renderer ended unexpectedly.", retryable=True)
_NOT_LOADED = _Ending(
    FailureCode.WORKER_LOST, "The worker could not load the model.", retryable=True
)
_STOPPED = {
    StopReason.CANCELED: _Ending(FailureCode.CANCELED, "The job was canceled.", retryable=False),
    StopReason.DEADLINE: _Ending(
        FailureCode.DEADLINE_EXCEEDED, "The job took longer than allowed.", retryable=False
    ),
    StopReason.DRAINED: _Ending(
        FailureCode.WORKER_LOST, "The worker was shut down.", retryable=True
    ),
}
