"""One batch in the child, watched by the parent until every job of it is answered.

a job dropped, canceled, late, or out of drain time --> unwanted; the child is told at once
rendering --all jobs that are rendered unwanted--> stopping
rendering, stopping --the child is free--> writing: of the last clip only the files are missing
rendering, stopping, writing --the child died--> over, the rest is lost
stopping, writing for nobody --the child stays deaf for the grace time--> killed --> over

The next batch may begin while the last clip of this one is written; it then watches that too.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import structlog

from gateway.protocol import AttemptRef, Progress
from models.card import ModelCard
from workers.child_process import ChildDied, ChildProcess
from workers.endings import CRASHED, NOT_LOADED, Ending, StopReason, explain
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
LOOK_EVERY_S = 0.1
"""How often Redis is asked for cancels while the child reports step after step."""

log = structlog.stdlib.get_logger(__name__)


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


@dataclass
class _Job:
    """An order that is not answered yet. `reason`: why nobody wants it any more."""

    order: RenderOrder
    reason: StopReason | None = None
    gate: ProgressGate = field(default_factory=ProgressGate)
    preview: str | None = None


_Jobs = dict[str, _Job]


class Batch:
    """Renders `orders` in `child`; what `before` left to be written is watched as well.

    What becomes of one job is no business of the others: a job that nobody waits for is answered
    early, and the child is stopped only when there is nothing else to render.
    """

    def __init__(
        self,
        card: ModelCard,
        orders: Sequence[RenderOrder],
        child: ChildProcess,
        around: Surroundings,
        before: "Batch | None" = None,
    ) -> None:
        self._card = card
        self._rendered: _Jobs = {order.job_id: _Job(order) for order in orders}
        self._written: _Jobs = before._written if before else {}  # noqa: SLF001  # the same class
        self._child = child
        self._around = around
        self._is_rendering = True
        self._stopping_since: float | None = None
        self._next_look_at = float("-inf")

    @property
    def tail(self) -> Sequence[AttemptRef]:
        """Whose clips are still being written."""
        return [_ref(job.order) for job in self._written.values()]

    @property
    def is_tail_wanted(self) -> bool:
        """Whether there is a tail, and somebody waits for all of it."""
        return bool(self._written) and all(job.reason is None for job in self._written.values())

    def run(self) -> Iterator[Outcome]:
        """Render; yields every order once, as soon as its end is known, but for `tail`.

        Afterwards the child is ready for the next batch or dead.
        """
        self._child.give(Render(self._card, tuple(job.order for job in self._rendered.values())))
        yield from self._follow(lambda: not self._is_rendering)

    def finish(self, within_s: float) -> Iterator[Outcome]:
        """After `run`: watch the tail, for so long; yields what is answered by then."""
        yield from self._follow(lambda: not self._written, time.monotonic() + within_s)

    def _follow(
        self, is_done: Callable[[], bool], until: float = float("inf")
    ) -> Iterator[Outcome]:
        while not is_done():
            left_s = max(until - time.monotonic(), 0)
            try:
                event = self._child.next_event(min(TICK_S, left_s))
            except ChildDied:
                yield from self._lose_all()
                return
            if event is None and not left_s:
                return
            yield from self._hear(event)
            self._around.tick()
            self._look_around(has_heard=event is not None)
            if self._is_deaf():
                log.warning("child_killed", reason=self._reason_text())
                self._child.kill()
                yield from self._lose_all()
                return

    def _hear(self, event: Event | None) -> Iterator[Outcome]:
        match event:
            case Stepped():
                self._publish(event)
            case Loaded():
                # Deaf while it was loading: its time to answer a cancel begins now.
                self._stopping_since = self._stopping_since and time.monotonic()
            case LoadFailed():
                yield from self._end(self._rendered, NOT_LOADED)
            case Finished() | Failed():
                yield self._answer(event)
            case BatchEnded():
                self._is_rendering = False
                self._stopping_since = None
                self._written |= self._rendered
                self._rendered = {}

    def _look_around(self, *, has_heard: bool) -> None:
        """Notice what makes jobs unwanted, and tell the child."""
        now = time.monotonic()
        if has_heard and now < self._next_look_at:
            return
        self._next_look_at = now + LOOK_EVERY_S
        wanted = [job for job in self._all() if job.reason is None]
        canceled = self._around.live.find_canceled([job.order.job_id for job in wanted])
        for job in wanted:
            job.reason = self._find_reason(job.order, is_canceled=job.order.job_id in canceled)
            if job.reason is not None:
                log.info("job_unwanted", job_id=job.order.job_id, reason=job.reason.value)
                self._child.cancel(job.order.job_id)
        concerned = self._concerned().values()
        is_stopping = bool(concerned) and all(job.reason is not None for job in concerned)
        if is_stopping and self._stopping_since is None:
            self._stopping_since = now

    def _find_reason(self, order: RenderOrder, *, is_canceled: bool) -> StopReason | None:
        around = self._around
        if around.lease.is_dropped(_ref(order)):
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
        job needs it. One that writes a clip somebody waits for is left to write it, for as long
        as that clip's own deadline or a drain allows.
        """
        if self._stopping_since is None or not self._concerned():
            return False
        if any(job.reason is None for job in self._written.values()):
            return False
        now = time.monotonic()
        is_late = all(now >= job.order.deadline_at for job in self._concerned().values())
        if self._child.is_loading and not is_late and not self._around.stop.is_requested:
            return False
        return now - self._stopping_since >= self._around.cancel_grace_s

    def _all(self) -> Iterator[_Job]:
        return chain(self._rendered.values(), self._written.values())

    def _concerned(self) -> _Jobs:
        """The jobs that decide whether the child is to live: the last clip waits its turn."""
        return self._rendered if self._is_rendering else self._written

    def _lose_all(self) -> Iterator[Outcome]:
        self._is_rendering = False
        has_begun = self._child.load_failure is None
        yield from self._end(self._rendered, CRASHED if has_begun else NOT_LOADED)
        yield from self._end(self._written, CRASHED)

    def _end(self, jobs: _Jobs, ending: Ending) -> Iterator[Outcome]:
        for job_id in list(jobs):
            yield self._answer(ending.of(job_id), is_child_lost=True)

    def _answer(self, event: Finished | Failed, *, is_child_lost: bool = False) -> Outcome:
        """What to report: the parent's reason to stop explains a failure, not a success."""
        jobs = self._rendered if event.job_id in self._rendered else self._written
        job = jobs.pop(event.job_id)
        if isinstance(event, Failed):
            return job.order, explain(event, job.reason, is_child_lost=is_child_lost)
        return job.order, None if job.reason is StopReason.DROPPED else event

    def _publish(self, step: Stepped) -> None:
        live = self._around.live
        for job_id in step.job_ids:
            job = self._rendered.get(job_id) or self._written[job_id]
            jpeg = step.previews.get(job_id)
            is_due = job.gate.passes(step.stage, has_preview=jpeg is not None)
            if job.reason is not None or not is_due:
                continue
            name = live.publish_preview(job_id, jpeg) if jpeg else None
            job.preview = name or job.preview
            progress = Progress(
                attempt=job.order.attempt,
                stage=step.stage,
                done=step.done,
                total=step.total,
                preview=job.preview,
            )
            live.publish(job_id, progress)

    def _reason_text(self) -> str:
        return ",".join(sorted({job.reason.value for job in self._all() if job.reason}))


def _ref(order: RenderOrder) -> AttemptRef:
    return AttemptRef(job_id=order.job_id, attempt=order.attempt)
