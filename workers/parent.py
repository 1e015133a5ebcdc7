"""Answers a delivery: claim, bring the inputs, render in the warm child, hand over to the reporter.

The parent never touches the device and never imports torch. After every batch it makes itself fit
for the next one before it takes another delivery.
"""

import time
from collections.abc import Iterator, Sequence
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
from models.card import ModelCard
from models.catalog import Catalog
from models.spec import VideoSpec
from workers.batch import Batch, Surroundings
from workers.condition import Condition
from workers.fitness import Fitness
from workers.gateway_client import GatewayClient, GatewayError, InputDamaged
from workers.inputs import fetch_inputs
from workers.messages import Failed, Finished, RenderOrder
from workers.reporting import MAX_UNREPORTED, Report, Reporter
from workers.retrying import GaveUp, until_available
from workers.spool import AttemptFolder, Spool, is_disk_full

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Services:
    """What the parent works with, built and closed by the host."""

    pool: str
    worker_name: str
    catalog: Catalog
    gateway: GatewayClient
    reporter: Reporter
    spool: Spool
    fitness: Fitness
    condition: Condition
    around: Surroundings


class Parent:
    """Serves deliveries one after the other, from the main thread only."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._fitness = services.fitness
        self._lease = services.around.lease

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
            for batch in self._split(jobs):
                self._serve(batch)
        except Exception:
            log.exception("serving_failed", jobs=[job.job_id for job in jobs])
            # What the child still does is unknown; the leases end by themselves.
            self._fitness.end_child()
            for job in jobs:
                self._lease.release(_ref(job))
        self._fitness.restore()

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
        if not orders:
            return
        card = self._services.catalog.find(orders[0].spec.model)
        if card is not None:
            self._render(card, orders)
            return
        log.error("model_unknown", model=orders[0].spec.model)
        for order in orders:
            failed = Failed(order.job_id, FailureCode.MODEL_ERROR, UNKNOWN, retryable=True)
            self._fail(AttemptFolder(order.folder), failed)

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
            if not is_disk_full(error):
                raise
            self._fail(folder, Failed.for_disk_full(job.job_id))
        else:
            kept = {"workspace": self._services.spool.workspace_of(job.job_id)}
            return _order(job, spec.model_copy(update=kept), folder, began_at)
        return None

    def _render(self, card: ModelCard, orders: Sequence[RenderOrder]) -> None:
        """Render a batch; after a crash each job that was lost goes alone, which tells whose."""
        batch = Batch(card, orders, self._fitness.child_for(card), self._services.around)
        codes: set[FailCode] = set()
        alone: list[RenderOrder] = []
        for order, ending in batch.run():
            if isinstance(ending, Failed):
                codes.add(ending.code)
                if ending.code is FailureCode.RENDERER_CRASHED and len(orders) > 1:
                    alone.append(order)
                    continue
            self._settle(order, ending)
        self._fitness.look_after(codes)
        for order in alone:
            self._render(card, [order])

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
