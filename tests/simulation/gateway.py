"""The gateway of a run: real routes, sweeps and SQL; a network and a power plug that fail."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from gateway.app import rebuild_all_lanes
from gateway.housekeeping import clean, list_sweeps, repair_stray_lanes
from gateway.jobs.eta import Forecasts
from gateway.jobs.workers import set_draining
from gateway.live import LiveHub
from gateway.services import Configuration, Services
from gateway.settings import Settings
from gateway.telemetry import Metrics
from tests.simulation.bus import Bus, Redis
from tests.simulation.database import MemoryDatabase, ProcessDatabase
from tests.simulation.process import Killed, Process
from tests.simulation.store import Files, Store
from tests.simulation.watch import Actor, Watch
from tests.simulation.world import World

T = TypeVar("T")


class Unreachable(Exception):
    """No answer: whether the gateway did anything is unknown."""


@dataclass(frozen=True)
class Fixed:
    """What is built once for all seeds."""

    settings: Settings
    configuration: Configuration
    database: MemoryDatabase
    live: LiveHub
    metrics: Metrics


class Gateway:
    """Boots, serves, sweeps, is killed, boots again."""

    def __init__(self, world: World, fixed: Fixed, redis: Redis) -> None:
        self.world = world
        self.files = Files()
        self.watch = Watch(world, fixed.database.raw)
        self.cards = fixed.configuration.catalog.models
        self.services: Services | None = None
        self._fixed = fixed
        self._redis = redis
        self._process = Process(world)

    def boot(self) -> None:
        """A new process over what the last one left."""
        process = self._process = Process(self.world)
        self.services = self._build(process)
        self.world.note("gateway boots")
        if self._attempt(Actor("other"), rebuild_all_lanes) is None:
            return
        for sweep in list_sweeps(self._fixed.settings):
            self._repeat(process, sweep.first_s, sweep.every_s, sweep.run)

    def call(self, actor: Actor, do: Callable[[Services], T]) -> T:
        """A request over the network.

        Raises:
            Unreachable: it, the gateway or the answer got lost.
        """
        if self.world.strikes("request lost"):
            raise Unreachable
        answer = self._run(actor, do)
        if self.world.strikes("request doubled"):
            answer = self._run(actor, do)
        if self.world.strikes("reply lost"):
            raise Unreachable
        return answer

    def heal(self) -> None:
        """Mend what is broken, for the end of the run."""
        self.world.is_healed = True
        self._redis.return_()
        self._fixed.database.raw.execute("UPDATE worker SET is_draining = 0")

    def drain(self, worker: str, *, is_draining: bool) -> None:
        """What an operator orders, who needs no gateway for it."""
        with self._fixed.database.write() as connection:
            set_draining(connection, worker, is_draining=is_draining)

    def clean_up(self, later: timedelta) -> None:
        """What the sweeps leave when everything that was kept has expired."""
        self.world.clock.instant += later
        for _ in range(2):
            self._attempt(Actor("sweep"), clean)

    def _run(self, actor: Actor, do: Callable[[Services], T]) -> T:
        process, services = self._process, self.services
        if services is None or process.is_dead:
            raise Unreachable
        try:
            with self.watch.acting(actor):
                return do(services)
        except Killed:
            self._fall(process)
        except OSError:
            # What a route lets through is answered with 500.
            pass
        raise Unreachable

    def _fall(self, process: Process) -> None:
        # Every request that the process was in the middle of ends here; one of them is the first.
        if self._process is process and self.services is not None:
            self.services = None
            self.world.note("gateway killed")
            self.world.after(self.world.between(0.5, 15), self.boot)

    def _attempt(self, actor: Actor, sweep: Callable[[Services], object]) -> bool | None:
        """Run a sweep; None if the gateway is gone."""

        def run(services: Services) -> bool:
            sweep(services)
            return True

        try:
            return self._run(actor, run)
        except Unreachable:
            return False if self.services is not None else None

    def _repeat(
        self,
        process: Process,
        first_s: float,
        every_s: float,
        sweep: Callable[[Services], object],
    ) -> None:
        def run() -> None:
            if process.is_dead:
                return
            self._redis.suffer()
            if self._attempt(Actor("sweep"), sweep) and sweep is repair_stray_lanes:
                self.watch.lanes_repaired()
            self.world.after(every_s, run)

        self.world.after(first_s, run)

    def _build(self, process: Process) -> Services:
        fixed, bus = self._fixed, Bus(self._redis, process)
        plans, catalog = fixed.configuration.plans, fixed.configuration.catalog
        return Services(
            settings=fixed.settings,
            clock=self.world.clock,
            database=ProcessDatabase(fixed.database, process, self.watch.look),
            store=Store(self.files, process),
            queue=bus,
            live=fixed.live,
            forecasts=Forecasts(
                self.world.clock,
                plans=plans,
                catalog=catalog,
                swap_s=fixed.settings.model_swap_s,
                alive_for=timedelta(seconds=fixed.settings.lease_s),
            ),
            configuration=fixed.configuration,
            metrics=fixed.metrics,
        )
