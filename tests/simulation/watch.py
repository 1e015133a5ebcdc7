"""What must hold after every commit, told from the rows before it and the rows after it.

The watch reads the database by itself, beside the product's code, and knows on whose behalf the
commit was made.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from gateway.protocol import AttemptRef
from tests.simulation.settings import CAPS, MAX_ATTEMPTS
from tests.simulation.world import World

OPEN = frozenset({"queued", "running"})
MAX_PASSED_OVER = 12
_MOVES = {
    ("queued", "running"): {"claim"},
    ("queued", "succeeded"): {"complete"},
    ("queued", "canceled"): {"cancel"},
    ("running", "queued"): {"fail", "sweep"},
    ("running", "succeeded"): {"complete"},
    ("running", "failed"): {"fail", "sweep"},
    ("running", "canceled"): {"cancel"},
}
_JOBS = (
    "SELECT id, account_id, state, attempt, pool, worker, lease_until, error_code "
    "FROM job ORDER BY id"
)
_ENDS = "SELECT job_id, kind FROM ledger_tx WHERE kind IN ('settle', 'refund') ORDER BY id"
_LANES = "SELECT account_id, pool, tier FROM account_lane WHERE is_waiting"
_DRAINING = "SELECT 1 FROM worker WHERE name = ? AND is_draining"
_GRACE = "SELECT count(*) FROM lot WHERE kind = 'grace'"


class Broken(AssertionError):
    """Something does not hold that must."""


class Row(NamedTuple):
    """A job as stored."""

    id: str
    account_id: str
    state: str
    attempt: int
    pool: str
    worker: str | None
    lease_until: str | None
    error_code: str | None

    @property
    def lane(self) -> tuple[str, str]:
        """Account and pool."""
        return self.account_id, self.pool


@dataclass(frozen=True)
class Actor:
    """On whose behalf the gateway works: `claim complete fail cancel sweep submit other`."""

    kind: str
    worker: str = ""
    pool: str = ""
    ref: AttemptRef | None = None


class Watch:
    """Looks after every commit; raises `Broken`."""

    def __init__(self, world: World, raw: sqlite3.Connection) -> None:
        self.world = world
        self.jobs: dict[str, Row] = {}
        self.most_passed_over = 0
        self._raw = raw
        self._actors: list[Actor] = []
        self._plans = self._read_plans()
        # Accounts whose plan changed since the lanes were last repaired: theirs may be stale.
        self._moved_plan: set[str] = set()
        self._passed_over: Counter[str] = Counter()

    @contextmanager
    def acting(self, actor: Actor) -> Iterator[None]:
        """Commits of the block are this actor's."""
        self._actors.append(actor)
        try:
            yield
        finally:
            self._actors.pop()

    def look(self) -> None:
        """A commit was made."""
        actor = self._actors[-1]
        before, self.jobs = self.jobs, self._read_jobs()
        plans, self._plans = self._plans, self._read_plans()
        self._moved_plan |= {each for each, plan in self._plans.items() if plans[each] != plan}
        if before.keys() - self.jobs.keys():
            raise Broken("a job is gone")
        changed = [
            (before.get(row.id), row) for row in self.jobs.values() if before.get(row.id) != row
        ]
        for old, new in changed:
            self._check_change(old, new, actor)
        self._check_ends()
        if actor.kind == "claim":
            self._check_claim(before, [new for _, new in changed], actor)
        self._check_lanes()

    def lanes_repaired(self) -> None:
        """The sweep has been round: from now on every lane must be right."""
        self._moved_plan.clear()
        self._check_lanes()

    def num_grace_lots(self) -> int:
        """Lots that replaced points which died while they were held."""
        return int(self._raw.execute(_GRACE).fetchone()[0])

    def _check_change(self, old: Row | None, new: Row, actor: Actor) -> None:
        if old is None:
            _require((new.state, new.attempt) == ("queued", 0), f"{new} is no new job")
            self.world.note("queued", new.id)
            return
        self.world.note(actor.kind, actor.worker, new.id, old.state, "->", new.state, new.attempt)
        if old.state != new.state:
            allowed = _MOVES.get((old.state, new.state), set())
            _require(actor.kind in allowed, f"{actor} moved {old} to {new}")
        _require(new.attempt == old.attempt + (new.state == "running" != old.state), f"{new}")
        _require(new.attempt <= MAX_ATTEMPTS, f"{new} was tried too often")
        if actor.kind in {"complete", "fail"}:
            ref = AttemptRef(job_id=old.id, attempt=old.attempt)
            _require(actor.ref == ref, f"{actor.worker} changed {old} with {actor.ref}")
        if actor.kind == "sweep" and old.state == "running":
            _require(self._has_expired(old), f"the sweep took {old} before its lease ended")
            self.world.reach("expired lease")
        self._count_situations(old, new)

    def _count_situations(self, old: Row, new: Row) -> None:
        if new.state == "canceled":
            self.world.reach(f"canceled while {old.state}")
        if new.state == "failed" and new.attempt == MAX_ATTEMPTS:
            self.world.reach("third attempt failed")
        if new.state == "failed" and new.error_code == "renderer_crashed":
            self.world.reach("poisoned job failed")
        if (old.state, new.state) == ("queued", "succeeded"):
            self.world.reach("late render counted")

    def _check_claim(self, before: dict[str, Row], taken: list[Row], actor: Actor) -> None:
        """Caps, the order inside an account, no idling, nobody passed over for long."""
        running = Counter(row.account_id for row in self.jobs.values() if row.state == "running")
        for row in taken:
            cap = CAPS[self._plans[row.account_id]]
            _require(running[row.account_id] <= cap, f"{row.account_id} runs more than {cap}")
            _require(row.pool == actor.pool, f"{row} is of another pool")
        if self._raw.execute(_DRAINING, (actor.worker,)).fetchone():
            _require(not taken, f"{actor.worker} is draining and got {taken}")
            return
        ids = {row.id for row in taken}
        waiting = [
            row
            for row in self.jobs.values()
            if row.state == "queued"
            and row.pool == actor.pool
            and row.account_id not in self._moved_plan
            and running[row.account_id] < CAPS[self._plans[row.account_id]]
        ]
        for row in waiting:
            _require(bool(taken), f"{row} may run, but the claim of {actor.worker} found nothing")
            later = [other for other in ids if before[other].lane == row.lane and other > row.id]
            _require(not later, f"{later} were served before {row}")
        first: dict[str, str] = {}
        for row in waiting:
            first.setdefault(row.account_id, row.id)
        for job_id in first.values():
            self._passed_over[job_id] += 1
            self.most_passed_over = max(self.most_passed_over, self._passed_over[job_id])
            _require(self._passed_over[job_id] <= MAX_PASSED_OVER, f"{job_id} starves")

    def _check_ends(self) -> None:
        """One end of the hold for each job that is over, of the right kind, and none before."""
        ends: dict[str, list[str]] = {}
        for job_id, kind in self._raw.execute(_ENDS):
            ends.setdefault(job_id, []).append(kind)
        for row in self.jobs.values():
            wanted = ["settle" if row.state == "succeeded" else "refund"]
            if row.state in OPEN:
                wanted = []
            found = ends.get(row.id, [])
            _require(found == wanted, f"{row} has {found} instead of {wanted}")

    def _check_lanes(self) -> None:
        """Whoever may run has a lane that says so."""
        lanes = set(self._raw.execute(_LANES))
        running = Counter(row.account_id for row in self.jobs.values() if row.state == "running")
        for row in self.jobs.values():
            plan = self._plans[row.account_id]
            if row.state != "queued" or running[row.account_id] >= CAPS[plan]:
                continue
            is_right = (*row.lane, plan) in lanes
            _require(is_right or row.account_id in self._moved_plan, f"no lane waits for {row}")

    def _has_expired(self, row: Row) -> bool:
        now = self.world.clock.now().strftime("%Y-%m-%d %H:%M:%S.%f")
        return row.lease_until is not None and row.lease_until <= now

    def _read_jobs(self) -> dict[str, Row]:
        return {row[0]: Row(*row) for row in self._raw.execute(_JOBS)}

    def _read_plans(self) -> dict[str, str]:
        return dict(self._raw.execute("SELECT id, plan FROM account ORDER BY id"))


def _require(holds: bool, message: str) -> None:  # noqa: FBT001 -- reads as assert does
    if not holds:
        raise Broken(message)
