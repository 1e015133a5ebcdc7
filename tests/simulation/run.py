"""Runs a seed: some minutes of mishaps, then healing, then what must be true at the end."""

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from unittest import mock

from structlog.testing import capture_logs

from gateway import ids
from gateway.live import LiveHub
from gateway.points.audit import audit
from gateway.telemetry import Metrics
from tests.simulation.bus import Redis
from tests.simulation.clients import Client
from tests.simulation.database import MemoryDatabase
from tests.simulation.gateway import Fixed, Gateway
from tests.simulation.settings import STARTS, make_configuration, make_settings
from tests.simulation.watch import OPEN, Broken
from tests.simulation.workers import Worker
from tests.simulation.world import World

ACTIVE_S = 60.0
HEALING_STEP_S = 10.0
MAX_HEALING_S = 600.0
# Everything that was kept has expired, and folders of jobs that never were are old enough.
LATER = timedelta(hours=3)
_WISHES = (
    ("submit", 4),
    ("submit_some", 2),
    ("send_again", 1),
    ("cancel", 2),
    ("delete", 1),
    ("look", 1),
    ("change_plan", 1),
)


@dataclass(frozen=True)
class Story:
    """What became of a seed. `failure`: what does not hold, None if all does."""

    seed: int
    failure: str | None
    hash: str
    lines: list[str]
    reached: Counter[str]
    num_jobs: int
    most_passed_over: int

    def in_short(self) -> "Story":
        """The same without its log."""
        return replace(self, lines=[])


@cache
def build_fixed() -> Fixed:
    """What all seeds of this process share."""
    configuration = make_configuration()
    with mock.patch.object(ids, "_random", _letters(random.Random(0))):  # noqa: S311 -- repeatable
        database = MemoryDatabase(configuration.plans)
    settings = make_settings()
    return Fixed(settings, configuration, database, LiveHub(settings.redis_url), Metrics())


def run_seed(seed: int) -> Story:
    """Everything that `seed` decides; the same each time."""
    fixed = build_fixed()
    fixed.database.reset()
    world = World(seed, STARTS[seed % len(STARTS)])
    run = _Run(world, fixed)
    failure = None
    with mock.patch.object(ids, "_random", _letters(world.random)), capture_logs():
        try:
            run.play()
        except Exception as error:  # noqa: BLE001 -- whatever the product lets through is a find
            failure = f"{type(error).__name__}: {error}"
            world.note("FAILED", failure)
    world.note(fixed.database.dump())
    return Story(
        seed,
        failure,
        world.hash(),
        world.lines,
        world.reached,
        len(run.gateway.watch.jobs),
        run.gateway.watch.most_passed_over,
    )


class _Run:
    def __init__(self, world: World, fixed: Fixed) -> None:
        self.world, self.fixed = world, fixed
        self.redis = Redis(world)
        self.gateway = Gateway(world, fixed, self.redis)
        rows = fixed.database.raw.execute("SELECT name, id FROM account ORDER BY id")
        self.clients = [Client(name, account_id, self.gateway) for name, account_id in rows]
        self.workers = [
            Worker(f"w{number}", pool, self.gateway, self.redis)
            for number, pool in enumerate(["default", "default", "other"])
        ]

    def play(self) -> None:
        """From the first boot to the last file."""
        day = self.fixed.configuration.plans.day_of(self.world.clock.now())
        self.gateway.boot()
        for worker in self.workers:
            self.world.after(self.world.between(0, 5), worker.start)
        for _ in range(self.world.random.randint(4, 9)):
            self._plan_wish()
        self.world.pause(ACTIVE_S)
        self._heal()
        self._check_end()
        if self.fixed.configuration.plans.day_of(self.world.clock.now()) != day:
            self.world.reach("midnight passed")
        if self.gateway.watch.num_grace_lots():
            self.world.reach("refund into an expired lot")
        self._check_files()

    def _plan_wish(self) -> None:
        names, weights = zip(*_WISHES, strict=True)
        client = self.world.random.choice(self.clients)
        [wish] = self.world.random.choices(names, weights)
        self.world.after(self.world.between(0, ACTIVE_S * 0.8), getattr(client, wish))

    def _heal(self) -> None:
        self.gateway.heal()
        for worker in self.workers:
            worker.heal()
        healed_s = 0.0
        while self._is_busy():
            if healed_s > MAX_HEALING_S:
                left = [row for row in self.gateway.watch.jobs.values() if row.state in OPEN]
                raise Broken(f"not over {MAX_HEALING_S:.0f} s after the last mishap: {left}")
            self.world.pause(HEALING_STEP_S)
            healed_s += HEALING_STEP_S

    def _is_busy(self) -> bool:
        has_open = any(row.state in OPEN for row in self.gateway.watch.jobs.values())
        has_unreported = any(worker.held for worker in self.workers)
        return has_open or has_unreported or self.gateway.services is None

    def _check_end(self) -> None:
        jobs = self.gateway.watch.jobs
        for client in self.clients:
            for wish in client.wishes:
                if wish.job_id and wish.job_id not in jobs:
                    raise Broken(f"{wish.job_id} was acknowledged and is nowhere")
        with self.fixed.database.read() as connection:
            breaches = list(audit(connection))
        if breaches:
            raise Broken(f"the audit says {breaches}")
        lanes = "SELECT * FROM account_lane WHERE is_waiting"
        if self.fixed.database.raw.execute(lanes).fetchall():
            raise Broken("a lane waits and no job does")
        published = "SELECT artifact.key FROM artifact JOIN job ON job.id = artifact.job_id"
        for (key,) in self.fixed.database.raw.execute(published):
            if key not in self.gateway.files.by_key:
                raise Broken(f"{key} was published and is not in the store")

    def _check_files(self) -> None:
        self.gateway.clean_up(timedelta(0))
        rows = self.fixed.database.raw.execute("SELECT key FROM artifact")
        named = {key for (key,) in rows}
        # Files without a job are left alone for an hour: a submit may yet commit.
        for key in sorted(self.gateway.files.by_key.keys() - named):
            if key.split("/")[1] in self.gateway.watch.jobs:
                raise Broken(f"no row names {key}")
        self.gateway.clean_up(LATER)
        if self.gateway.files.by_key:
            raise Broken(f"files left: {sorted(self.gateway.files.by_key)}")


def _letters(source: random.Random) -> object:
    """In place of `gateway.ids._random`: ids that the seed decides."""

    def letters(length: int) -> str:
        return f"{source.getrandbits(4 * length):0{length}x}"

    return letters
