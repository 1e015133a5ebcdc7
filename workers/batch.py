"""One batch in the child, watched by the parent until every job of it is answered.

a job dropped, canceled, late, or out of drain time --> unwanted; the child is told at once
rendering --all open jobs unwanted--> stopping
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
from models.card import ModelCard
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
    """Renders `orders` in `child`; afterwards `child` is ready for the next batch or dead.

    What becomes of one job is no business of the others: a job that nobody waits for is answered
    early, and the child is stopped only when there is nothing else to render.
    """

    def __init__(
        self,
        card: ModelCard,
        orders: Sequence[RenderOrder],
        child: ChildProcess,
        around: Surroundings,
    ) -> None:
        self._card = card
        self._open = {order.job_id: order for order in orders}
        self._child = child
        self._around = around
        self._unwanted: dict[str, StopReason] = {}
        self._stopping_since: float | None = None
        self._gates = {order.job_id: ProgressGate() for order in orders}
        self._previews: dict[str, str] = {}

    def run(self) -> Iterator[Outcome]:
        """Render; yields every order once, as soon as its end is known."""
        self._child.give(Render(self._card, tuple(self._open.values())))
        while True:
            try:
                event = self._child.next_event(TICK_S)
            except ChildDied:
                has_begun = self._child.load_failure is None
                yield from self._end_all(_CRASHED if has_begun else _NOT_LOADED)
                return
            if isinstance(event, BatchEnded):
                return
            yield from self._hear(event)
            self._around.tick()
            self._look_around()
            if self._is_deaf():
                log.warning("child_killed", reason=self._reason_text())
                self._child.kill()
                yield from self._end_all(_CRASHED)
                return

    def _hear(self, event: Event | None) -> Iterator[Outcome]:
        match event:
            case Stepped():
                self._publish(event)
            case Loaded():
                # Deaf while it was loading: its time to answer a cancel begins now.
                self._stopping_since = self._stopping_since and time.monotonic()
            case LoadFailed():
                yield from self._end_all(_NOT_LOADED)
            case Finished() | Failed():
                yield self._answer(self._open.pop(event.job_id), event)

    def _look_around(self) -> None:
        """Notice what makes jobs unwanted, and tell the child."""
        wanted = [order for job_id, order in self._open.items() if job_id not in self._unwanted]
        canceled = self._around.live.find_canceled([order.job_id for order in wanted])
        for order in wanted:
            reason = self._find_reason(order, is_canceled=order.job_id in canceled)
            if reason is not None:
                log.info("job_unwanted", job_id=order.job_id, reason=reason.value)
                self._unwanted[order.job_id] = reason
                self._child.cancel(order.job_id)
        is_stopping = bool(self._open) and self._open.keys() <= self._unwanted.keys()
        if is_stopping and self._stopping_since is None:
            self._stopping_since = time.monotonic()

    def _find_reason(self, order: RenderOrder, *, is_canceled: bool) -> StopReason | None:
        around = self._around
        if around.lease.is_dropped(AttemptRef(job_id=order.job_id, attempt=order.attempt)):
            return StopReason.DROPPED
        if is_canceled:
            return StopReason.CANCELED
        if time.monotonic() >= order.deadline_at:
            return StopReason.DEADLINE
        if around.stop.is_drained(around.drain_s):
            return StopReason.DRAINED
        return None

    def _is_deaf(self) -> bool:
        """Whether the child had its time to stop.

        One that is still loading for jobs the client no longer wants is left to load: the next
        job needs it.
        """
        if self._stopping_since is None or not self._open:
            return False
        now = time.monotonic()
        is_late = all(now >= order.deadline_at for order in self._open.values())
        if self._child.is_loading and not is_late and not self._around.stop.is_requested:
            return False
        return now - self._stopping_since >= self._around.cancel_grace_s

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
        live = self._around.live
        for job_id in step.job_ids:
            jpeg = step.previews.get(job_id)
            is_due = self._gates[job_id].passes(step.stage, has_preview=jpeg is not None)
            if job_id in self._unwanted or not is_due:
                continue
            name = live.publish_preview(job_id, jpeg) if jpeg else None
            if name is not None:
                self._previews[job_id] = name
            progress = Progress(
                attempt=self._open[job_id].attempt,
                stage=step.stage,
                done=step.done,
                total=step.total,
                preview=self._previews.get(job_id),
            )
            live.publish(job_id, progress)

    def _reason_text(self) -> str:
        return ",".join(sorted({reason.value for reason in self._unwanted.values()}))


@dataclass(frozen=True)
class _Ending:
    code: FailureCode
    message: str
    retryable: bool

    def of(self, job_id: str) -> Failed:
        return Failed(job_id, self.code, self.message, self.retryable)


_CRASHED = _Ending(FailureCode.RENDERER_CRASHED, "The renderer ended unexpectedly.", retryable=True)
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
