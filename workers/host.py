"""A worker host from start to exit: builds the parts, takes deliveries, drains, goes.

Redis may come and go: the loop over RQ's own loop starts it again, for RQ's ends on many errors.
"""

import contextlib
import secrets

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.exceptions import StopRequested

from models.catalog import Catalog, load_catalog
from workers.batch import Surroundings
from workers.condition import Condition
from workers.delivery import DeliveryWorker
from workers.fitness import Fitness
from workers.gateway_client import GatewayClient
from workers.lease import LeaseKeeper
from workers.live import LiveChannel
from workers.parent import Parent, Services
from workers.pulse import Pulse
from workers.reporting import Report, Reporter
from workers.retrying import pause
from workers.settings import WorkerSettings
from workers.shutdown import StopSignal
from workers.spool import Spool

REDIS_CONNECT_S = 5.0
LAST_REPORTS_S = 5.0
"""At the end, what is left to report gets this long at least."""
REDIS_PAUSE_S = 1.0
DRAIN_LOOK_S = 0.5

log = structlog.stdlib.get_logger(__name__)


def run_host(settings: WorkerSettings) -> None:
    """Serve deliveries until SIGTERM or SIGINT; from the main thread only.

    Raises:
        ConfigError: the model cards cannot be read.
        SpoolInUse: another worker owns the spool folder.
    """
    catalog = load_catalog(settings.config_dir / "models.yaml")
    spool = Spool(settings.spool_dir)
    with (
        spool.owned(),
        GatewayClient(settings.gateway_url, settings.worker_token) as gateway,
    ):
        stop = StopSignal()
        stop.install()
        log.info("worker_started", worker=settings.worker_name, pool=settings.pool)
        Host(settings, catalog, spool, gateway, stop).run()
        log.info("worker_stopped", worker=settings.worker_name)


class Host:
    """The parts of one worker and the order in which they start and end."""

    def __init__(
        self,
        settings: WorkerSettings,
        catalog: Catalog,
        spool: Spool,
        gateway: GatewayClient,
        stop: StopSignal,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._stop = stop
        self._pulse = Pulse(settings.spool_dir)
        self._worker: DeliveryWorker | None = None
        self._has_said_stopping = False
        self._live = LiveChannel(settings.redis_url)
        self._condition = Condition(settings.spool_dir)
        self._lease = LeaseKeeper(
            gateway, settings.worker_name, pool=settings.pool, condition=self._condition
        )
        self._reporter = Reporter(gateway, self._lease, self._live)
        cards = catalog.in_pool(settings.pool) or [catalog.default]
        self._fitness = Fitness(cards, settings, spool, self._condition, self._should_stop)
        self._parent = Parent(
            Services(
                pool=settings.pool,
                worker_name=settings.worker_name,
                catalog=catalog,
                gateway=gateway,
                reporter=self._reporter,
                spool=spool,
                fitness=self._fitness,
                condition=self._condition,
                around=Surroundings(
                    lease=self._lease,
                    live=self._live,
                    stop=stop,
                    tick=self._tick,
                    cancel_grace_s=settings.cancel_grace_s,
                    drain_s=settings.drain_s,
                ),
                take_bell=self._take_bell,
            )
        )

    def run(self) -> None:
        """Report what a former run left, then serve deliveries until asked to stop."""
        self._lease.start()
        self._reporter.start()
        try:
            self._report_leftovers()
            self._fitness.restore()
            log.info("worker_ready", model=self._fitness.loaded_model)
            self._take_deliveries()
        finally:
            self._fitness.end_child()
            self._reporter.close(max(LAST_REPORTS_S, self._settings.drain_s - self._stop.age_s))
            self._lease.close()
            self._live.close()

    def _report_leftovers(self) -> None:
        for folder in self._spool.recover():
            log.info("leftover_found", folder=folder.path.name)
            self._lease.hold(folder.ref)
            self._reporter.submit(Report(folder))
        self._reporter.flush(give_up=self._should_stop)

    def _take_deliveries(self) -> None:
        while not self._stop.is_requested:
            if self._condition.is_draining:
                # Deliveries are for those who get jobs; a heartbeat will say when there are some.
                pause(DRAIN_LOOK_S, self._should_stop)
                continue
            try:
                with self._stop.interrupting():
                    self._work()
            except StopRequested:
                return
            except redis.RedisError as error:
                log.warning("redis_unavailable", reason=type(error).__name__)
            pause(REDIS_PAUSE_S, self._should_stop)

    def _work(self) -> None:
        """Run RQ's loop until it ends, which it does on many errors."""
        connection = redis.Redis.from_url(
            self._settings.redis_url,
            socket_connect_timeout=REDIS_CONNECT_S,
            retry=Retry(NoBackoff(), 1),
        )
        with connection:
            # After a lost connection the old name may still be registered for a while.
            name = f"{self._settings.worker_name}-{secrets.token_hex(3)}"
            self._worker = DeliveryWorker(
                self._settings.pool,
                name=name,
                connection=connection,
                serve=self._serve,
                beat=self._pulse.beat,
            )
            try:
                self._worker.work(logging_level=None)
            except StopRequested:
                # RQ signs off by itself, unless the request came just after it had signed on.
                with contextlib.suppress(redis.RedisError):
                    self._worker.register_death()  # type: ignore[no-untyped-call]  # RQ has none
                raise
            finally:
                self._worker = None

    def _serve(self) -> None:
        with self._stop.undisturbed():
            self._parent.serve_delivery()
        if self._condition.is_draining:
            # RQ's loop ends on it.
            raise StopRequested

    def _take_bell(self) -> bool:
        try:
            return self._worker is not None and self._worker.take_waiting()
        except redis.RedisError as error:
            log.warning("redis_unavailable", reason=type(error).__name__)
            return False

    def _should_stop(self) -> bool:
        self._tick()
        return self._stop.is_requested

    def _tick(self) -> None:
        if self._stop.is_requested and not self._has_said_stopping:
            self._has_said_stopping = True
            log.info("worker_stopping", drain_s=self._settings.drain_s)
        if self._pulse.beat() and self._worker is not None:
            worker = self._worker
            self._live.send(lambda pipeline: worker.heartbeat(pipeline=pipeline))
