"""RQ reduced to a doorbell: a delivery says "somebody should claim from this pool", nothing more.

The gateway's database decides what a claim gets, so a lost, repeated or forged delivery is
harmless, and RQ's retries, callbacks, webhooks and registries have no meaning here. A delivery is
forgotten in Redis before it is served: a kill during a render leaves nothing of it behind.
"""

from collections.abc import Callable
from typing import NoReturn

import structlog
from redis import Redis
from redis.client import Pipeline
from rq.exceptions import DeserializationError
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.utils import now
from rq.worker import SimpleWorker
from rq.worker_registration import clean_worker_registry
from typing_extensions import override

from gateway.protocol import DELIVERY_FUNCTION, queue_name

WORKER_TTL_S = 30
"""RQ waits 15 s less for a delivery; the worker's key in Redis outlives a kill by a minute more."""

MAINTENANCE_S = 60
LEFTOVER_TTL_S = 600
MAX_CONNECT_WAIT_S = 5.0

log = structlog.stdlib.get_logger(__name__)


def deliver() -> NoReturn:
    """What a delivery names. Never called: a Reelgate worker claims instead of calling it.

    Raises:
        RuntimeError: a stock RQ worker took the delivery.
    """
    raise RuntimeError(
        "This delivery is for `reelgate worker`; a stock RQ worker cannot serve it. "
        "Nothing is lost: the gateway will deliver again."
    )


class Delivery(Job):
    """An RQ job that can name one function and brings nothing else to run."""

    @property
    def is_doorbell(self) -> bool:
        """Whether it is what the gateway sends."""
        try:
            return self.func_name == DELIVERY_FUNCTION
        except DeserializationError:
            return False

    @property
    @override
    def func(self) -> Callable[[], NoReturn]:
        """RQ would import whatever the data names."""
        return deliver

    @property
    @override
    def success_callback(self) -> None:
        """None, whatever the data names."""

    @property
    @override
    def failure_callback(self) -> None:
        """None, whatever the data names."""

    @property
    @override
    def stopped_callback(self) -> None:
        """None, whatever the data names."""

    @override
    def send_webhooks(self, status: str, *, exc_string: str | None = None) -> None:
        """Send nothing: the address would come from the data."""


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's alarm signal would break the parent; the parent keeps deadlines itself."""

    @override
    def setup_death_penalty(self) -> None:
        """Set no alarm."""

    @override
    def cancel_death_penalty(self) -> None:
        """There is none."""


class DeliveryWorker(SimpleWorker):
    """Takes deliveries of one pool and calls `serve` for each; `beat` is called while it waits.

    Exactly one queue: with more, RQ pops without its intermediate list. Signals and the pub/sub
    channel, over which anyone in Redis could stop a worker, are left to the host.
    """

    death_penalty_class = NoDeathPenalty
    job_class = Delivery
    max_connection_wait_time = MAX_CONNECT_WAIT_S

    def __init__(
        self,
        pool: str,
        *,
        name: str,
        connection: Redis,
        serve: Callable[[], None],
        beat: Callable[[], object],
    ) -> None:
        super().__init__(
            [queue_name(pool)],
            name=name,
            connection=connection,
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            maintenance_interval=MAINTENANCE_S,
            log_job_description=False,
        )
        self._serve = serve
        self._beat = beat

    @override
    def execute_job(self, job: Job, queue: Queue) -> None:
        """Forget the delivery, then serve it if it is one. RQ's bookkeeping is left out."""
        if self._is_doorbell(job, queue):
            self._serve()

    def take_waiting(self) -> bool:
        """Take a delivery that waits already and forget it; whether there was a good one."""
        found = self.queue_class.dequeue_any(
            self.queues,
            None,
            connection=self.connection,
            job_class=self.job_class,
            serializer=self.serializer,
        )
        return found is not None and self._is_doorbell(*found)

    def _is_doorbell(self, job: Job, queue: Queue) -> bool:
        """Forget the delivery, and say whether it is one."""
        with self.connection.pipeline() as pipeline:
            pipeline.lrem(queue.intermediate_queue_key, 1, job.id)
            pipeline.delete(job.key, job.dependents_key, job.dependencies_key)
            pipeline.execute()
        if isinstance(job, Delivery) and job.is_doorbell:
            return True
        log.warning("delivery_refused", delivery=job.id)
        return False

    @override
    def run_maintenance_tasks(self) -> None:
        """Forget dead workers, and give an end to what a killed one left between pop and start.

        RQ's own tasks would fail or requeue deliveries.
        """
        for queue in self.queues:
            clean_worker_registry(queue)
            left = queue.intermediate_queue.get_job_ids()
            with self.connection.pipeline() as pipeline:
                pipeline.expire(queue.intermediate_queue_key, LEFTOVER_TTL_S, nx=True)
                for job_id in left:
                    pipeline.expire(Job.key_for(job_id), LEFTOVER_TTL_S, nx=True)
                pipeline.execute()
        self.last_cleaned_at = now()  # type: ignore[assignment]  # RQ infers None

    @override
    def subscribe(self) -> None:
        """Listen to no commands."""

    @override
    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Renew the worker's key; RQ calls it between deliveries, the host during one."""
        self._beat()
        super().heartbeat(timeout, pipeline)

    @override
    def _install_signal_handlers(self) -> None:
        """The host's handlers stay."""
