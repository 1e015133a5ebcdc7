"""Answers a delivery: claim, bring the inputs, render in the warm child, hand over to the reporter.

The parent never touches the device and never imports torch. Where all is well and a delivery waits,
it claims again while the last clip of a batch is still being written; otherwise it sees that clip
through, and makes itself fit for the next batch before it takes another delivery.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import structlog

from gateway.protocol import (
    Assignment,
    AttemptRef,
    ClaimRequest,
    FailCode,
    FailRequest,
    FailureCode,
)
from models.catalog import Catalog
from models.spec import VideoSpec
from workers.batch import Batch, Outcome, Surroundings
from workers.condition import Condition
from workers.fitness import Fitness
from workers.gateway_client import GatewayClient, GatewayError, InputDamaged
from workers.inputs import fetch_inputs
from workers.messages import Failed, Finished, RenderOrder
from workers.reporting import MAX_UNREPORTED, Report, Reporter
from workers.retrying import GaveUp, until_available
from workers.spool import AttemptFolder, Spool

SHORT_TAIL_S = 0.03
"""A clip that is written by then is not worth a claim beside it."""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Services:
    """What the parent works with, built and closed by the host.

    `take_bell`: take a delivery that waits already, without waiting for one; whether there was one.
    """

    pool: str
    worker_name: str
    catalog: Catalog
    gateway: GatewayClient
    reporter: Reporter
    spool: Spool
    fitness: Fitness
    condition: Condition
    around: Surroundings
    take_bell: Callable[[], bool]


class Parent:
    """Serves deliveries one after the other, from the main thread only."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._fitness = services.fitness
        self._lease = services.around.lease
        self._last: Batch | None = None

    def serve_delivery(self) -> None:
        """Claim jobs and see them through to the reporter; returns quietly when none waits."""
        self._fitness.restore()
        self._services.reporter.flush(give_up=self._should_stop, up_to=MAX_UNREPORTED)
        if self._should_stop():
            return
        jobs = self._claim()
        if not jobs:
            return
        try:
            while jobs:
                for batch in self._split(jobs):
                    self._serve(batch)
                jobs = self._claim_beside_tail()
            self._finish_tail(float("inf"))
        except Exception:
            refs = [_ref(job) for job in jobs] + list(self._last.tail if self._last else ())
            log.exception("serving_failed", jobs=[ref.job_id for ref in refs])
            # What the child still does is unknown; the leases end by themselves.
            self._fitness.end_child()
            self._last = None
            for ref in refs:
                self._lease.release(ref)
        self._fitness.restore()

    def _claim_beside_tail(self) -> Sequence[Assignment]:
        """The next jobs, for a device that need not wait for the files of the last clip.

        None without a delivery that waits, nor where something may be amiss.
        """
        self._finish_tail(SHORT_TAIL_S)
        is_wanted = self._last is not None and self._last.is_tail_wanted
        num_unreported = self._services.reporter.num_unreported
        may_claim = (
            is_wanted
            # The clip that is being written will be one more.
            and num_unreported < MAX_UNREPORTED
            and self._fitness.is_fit()
            and not self._services.condition.is_draining
            and not self._should_stop()
        )
        return self._claim() if may_claim and self._services.take_bell() else ()

    def _finish_tail(self, within_s: float) -> None:
        """Settle what is being written, if it ends within so many seconds."""
        if self._last is not None:
            self._see_through(self._last.finish(within_s))

    def _claim(self) -> Sequence[Assignment]:
        request = ClaimRequest(
            pool=self._services.pool,
            worker=self._services.worker_name,
            loaded_model=self._fitness.loaded_model,
            room=self._find_room(),
        )
        gateway = self._services.gateway
        try:
            reply = until_available(lambda: gateway.claim(request), give_up=self._should_stop)
        except GaveUp:
            return ()
        except GatewayError as error:
            log.warning("claim_refused", reason=str(error), pool=request.pool)
            self._fitness.suffer_setback()
            return ()
        self._services.condition.heed_drain(is_draining=reply.is_draining)
        for job in reply.jobs:
            self._lease.hold(_ref(job), job.heartbeat_s)
            log.info("job_claimed", job_id=job.job_id, attempt=job.attempt, model=job.spec.model)
        return reply.jobs

    def _find_room(self) -> int:
        card = self._services.catalog.find(self._fitness.loaded_model or "")
        return card.max_room if card else 1

    def _split(self, jobs: Sequence[Assignment]) -> Iterator[Sequence[Assignment]]:
        """Batches that one call can render; just one, if the gateway knows the cards as we do."""
        for _, group in groupby(jobs, key=lambda job: job.spec.batch_key):
            alike = list(group)
            card = self._services.catalog.find(alike[0].spec.model)
            room = card.batch_room(alike[0].spec.size) if card else 1
            yield from (alike[start : start + room] for start in range(0, len(alike), room))

    def _serve(self, jobs: Sequence[Assignment]) -> None:
        """See one batch through; its time begins here."""
        self._services.spool.drop_stale_workspaces()
        began_at = time.monotonic()
        orders = [order for job in jobs if (order := self._prepare(job, began_at))]
        if orders:
            self._render(orders)

    def _prepare(self, job: Assignment, began_at: float) -> RenderOrder | None:
        """The job with its inputs on disk, or None when it has failed already."""
        deadline_at = began_at + job.deadline_s
        folder = self._services.spool.folder_of(_ref(job))
        try:
            folder.create()
            spec = fetch_inputs(
                self._services.gateway,
                job,
                folder,
                give_up=lambda: self._is_over(job, deadline_at),
            )
        except (InputDamaged, GatewayError) as error:
            log.warning("input_unreadable", job_id=job.job_id, reason=str(error))
            self._fail(folder, _failed(job, FailureCode.INPUT_UNREADABLE, UNREADABLE))
        except GaveUp:
            self._fail(folder, _failed(job, FailureCode.WORKER_LOST, NO_INPUTS))
        except OSError as error:
            # Full, gone, read-only, broken: it is the spool, and no job is to blame.
            log.warning("spool_unusable", reason=str(error.errno))
            self._fail(folder, Failed.for_disk_full(job.job_id))
        else:
            kept = {"workspace": self._services.spool.workspace_of(job.job_id)}
            return _order(job, spec.model_copy(update=kept), folder, began_at)
        return None

    def _render(self, orders: Sequence[RenderOrder]) -> None:
        """Render a batch, beside which the clip before it may still be written."""
        card = self._services.catalog.find(orders[0].spec.model)
        if card is None:
            log.error("model_unknown", model=orders[0].spec.model)
            for order in orders:
                failed = Failed(order.job_id, FailureCode.MODEL_ERROR, UNKNOWN, retryable=True)
                self._fail(AttemptFolder(order.folder), failed)
            return
        child = self._fitness.child_for(card)
        self._last = Batch(card, orders, child, self._services.around, self._last)
        self._see_through(self._last.run(), len(orders))

    def _see_through(self, outcomes: Iterable[Outcome], num_orders: int = 1) -> None:
        """Settle; after a crash each of several jobs goes alone, which tells whose it was."""
        codes: set[FailCode] = set()
        crashed: list[tuple[RenderOrder, Failed]] = []
        for order, ending in outcomes:
            if isinstance(ending, Failed):
                codes.add(ending.code)
                if ending.code is FailureCode.RENDERER_CRASHED:
                    crashed.append((order, ending))
                    continue
            self._settle(order, ending)
        is_shared = max(num_orders, len(crashed)) > 1
        for order, failed in () if is_shared else crashed:
            self._settle(order, failed)
        if FailureCode.OUT_OF_MEMORY in codes:
            # It costs the child, and a clip that is still being written there is worth the wait.
            self._finish_tail(float("inf"))
        self._fitness.look_after(codes)
        for order, _ in crashed if is_shared else ():
            self._render([order])
            # Alone is alone: the next one may crash.
            self._finish_tail(float("inf"))

    def _settle(self, order: RenderOrder, ending: Finished | Failed | None) -> None:
        folder = AttemptFolder(order.folder)
        if isinstance(ending, Finished) or (isinstance(ending, Failed) and not ending.retryable):
            self._services.spool.drop_workspace(order.job_id)
        match ending:
            case None:
                self._forget(folder)
            case Finished():
                log.info("job_rendered", job_id=order.job_id, attempt=order.attempt)
                self._fitness.forget_setbacks()
                self._services.reporter.submit(Report(folder))
            case Failed():
                self._fail(folder, ending)

    def _fail(self, folder: AttemptFolder, failed: Failed) -> None:
        ref = folder.ref
        log.warning("job_failed", job_id=ref.job_id, attempt=ref.attempt, code=failed.code.value)
        if failed.is_disk_full:
            self._fitness.note_disk_full()
        request = FailRequest(
            attempt=ref.attempt,
            code=failed.code,
            message=failed.message,
            retryable=failed.retryable,
        )
        self._services.reporter.submit(Report(folder, request))

    def _forget(self, folder: AttemptFolder) -> None:
        log.info("attempt_dropped", job_id=folder.ref.job_id, attempt=folder.ref.attempt)
        folder.delete()
        self._lease.release(folder.ref)

    def _is_over(self, job: Assignment, deadline_at: float) -> bool:
        is_late = time.monotonic() >= deadline_at
        return self._should_stop() or is_late or self._lease.is_dropped(_ref(job))

    def _should_stop(self) -> bool:
        """Asked while something is waited for; a clip that is finished meanwhile is reported."""
        self._finish_tail(0)
        self._services.around.tick()
        return self._services.around.stop.is_requested


UNREADABLE = "An input file could not be read."
NO_INPUTS = "The worker could not fetch the input files."
UNKNOWN = "The worker does not serve this model."


def _ref(job: Assignment) -> AttemptRef:
    return AttemptRef(job_id=job.job_id, attempt=job.attempt)


def _failed(job: Assignment, code: FailureCode, message: str) -> Failed:
    return Failed(job.job_id, code, message, retryable=True)


def _order(job: Assignment, spec: VideoSpec, folder: AttemptFolder, began_at: float) -> RenderOrder:
    return RenderOrder(
        job_id=job.job_id,
        attempt=job.attempt,
        spec=spec,
        label=job.label,
        folder=folder.path,
        claimed_at=began_at,
        deadline_at=began_at + job.deadline_s,
    )
