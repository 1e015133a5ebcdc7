"""Who renders what: claims, and the leases that keep them.

A claim is decided in the database at the moment a worker asks, by the rule of
`gateway.domain.scheduling`; see `gateway.jobs.lifecycle` for every other move of a job.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, update

from gateway.db.tables import account, account_lane, attempt, job
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plans
from gateway.domain.scheduling import Lane, Pick, Pool, Tier, serve
from gateway.jobs.lanes import TierChanges, count_running, sync_lanes
from gateway.jobs.waiting import batch_room_of, list_lane_jobs, load_front, make_tickets
from gateway.jobs.workers import note_claim, note_model
from gateway.protocol import AttemptRef
from models.catalog import Catalog

# Any constant of our own: claims of one pool follow each other.
_POSTGRES_LOCK = 7_305_812
# Lanes that lag behind their jobs are put right on the way; more of them wait for the next claim.
_MAX_LOOKS = 4


def claim(
    connection: Connection,
    pool: str,
    worker: str,
    *,
    limit: int,
    lease_s: float,
    plans: Plans,
    now: datetime,
    loaded_model: str | None = None,
    swap_s: float = 0.0,
    catalog: Catalog | None = None,
) -> list[str]:
    """Give the fairest job of `pool` to `worker`, and up to `limit - 1` to render with it; ids.

    A worker that is draining gets none. With `catalog` no more jobs than one call of their model
    takes. An account never runs more at once than its plan allows, however many workers ask
    together: its row is locked for the count, and one that somebody else holds is passed over.
    """
    may_run = note_claim(
        connection, worker, pool=pool, loaded_model=loaded_model, room=limit, now=now
    )
    if not may_run:
        return []
    _take_turn(connection, pool)
    turn = _Turn(connection, pool, plans, limit)
    queue, picks = Pool(), list[Pick]()
    for _ in range(_MAX_LOOKS):
        queue = turn.look()
        picks = serve(
            queue,
            room=limit,
            loaded_model=loaded_model,
            swap_s=swap_s,
            batch_room=batch_room_of(catalog) if catalog else None,
            admit=turn.admit,
        )
        if picks or not turn.has_repaired:
            break
    for each in picks:
        _start(connection, each, worker, lease_until=now + timedelta(seconds=lease_s), now=now)
        turn.pay(queue, each)
    _note_attempts(connection, picks, worker, now=now)
    turn.changes.write(connection)
    if picks:
        note_model(connection, worker, picks[0].ticket.model)
    return [each.ticket.job_id for each in picks]


def renew_leases(
    connection: Connection, held: list[AttemptRef], *, lease_s: float, now: datetime
) -> list[str]:
    """Renew the leases of what a worker holds; the ids of jobs that are no longer its own."""
    dropped = []
    for ref in held:
        renewed = connection.execute(
            update(job)
            .where(
                job.c.id == ref.job_id,
                job.c.attempt == ref.attempt,
                job.c.state == JobState.RUNNING,
            )
            .values(lease_until=now + timedelta(seconds=lease_s))
        )
        if renewed.rowcount == 0:
            dropped.append(ref.job_id)
    return dropped


def list_expired_leases(connection: Connection, *, now: datetime, limit: int) -> list[str]:
    """Running jobs whose worker has been silent for too long."""
    query = (
        select(job.c.id)
        .where(job.c.state == JobState.RUNNING, job.c.lease_until <= now)
        .order_by(job.c.lease_until)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def _take_turn(connection: Connection, pool: str) -> None:
    """Let one claim of a pool follow the other, or two would see the same lane as the fairest.

    One claim takes milliseconds and a pool sees some twenty a second. SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        key = func.hashtext(pool)
        connection.execute(select(func.pg_advisory_xact_lock(_POSTGRES_LOCK, key)))


def _start(
    connection: Connection, chosen: Pick, worker: str, *, lease_until: datetime, now: datetime
) -> None:
    connection.execute(
        update(job)
        .where(job.c.id == chosen.ticket.job_id, job.c.state == JobState.QUEUED)
        .values(
            state=JobState.RUNNING,
            attempt=job.c.attempt + 1,
            worker=worker,
            lease_until=lease_until,
            started_at=now,
        )
        .returning(job.c.id)
    ).one()


def _note_attempts(
    connection: Connection, picks: list[Pick], worker: str, *, now: datetime
) -> None:
    for each in picks:
        number = select(job.c.attempt).where(job.c.id == each.ticket.job_id).scalar_subquery()
        connection.execute(
            insert(attempt).values(
                job_id=each.ticket.job_id,
                attempt=number,
                worker=worker,
                started_at=now,
                charged_s=each.ticket.cost_s,
                num_batched=len(picks),
            )
        )


@dataclass
class _Turn:
    """The database side of one claim.

    Account rows are only ever tried for, so a claim that has its turn waits for nobody.
    """

    connection: Connection
    pool: str
    plans: Plans
    limit: int

    def __post_init__(self) -> None:
        self.changes = TierChanges(self.plans)
        self.has_repaired = False
        self._busy: set[str] = set()
        self._exact: set[str] = set()

    def look(self) -> Pool:
        """The front of the queue; lanes without jobs are put right."""
        self.has_repaired = False
        self._exact.clear()
        queue, stale = load_front(
            self.connection,
            self.pool,
            plans=self.plans,
            num_picks=self.limit,
            passed_over=self._busy,
        )
        for account_id in stale:
            if self._lock(account_id) is not None:
                self._repair(account_id)
        return queue

    def admit(self, tier: Tier, lane: Lane) -> bool:
        """Whether a job of the lane may run; from here on its account is locked, its lane exact."""
        if lane.account_id in self._exact:
            return True
        plan_id = self._lock(lane.account_id)
        if plan_id is None:
            return False
        plan = self.plans.get(plan_id)
        lane.room = plan.max_running - count_running(self.connection, lane.account_id)
        # One more than can be taken: whether the lane waits on is to be known.
        jobs = list_lane_jobs(self.connection, lane.account_id, self.pool, self.limit + 1)
        if plan.id != tier.id or lane.room <= 0 or not jobs:
            self._repair(lane.account_id)
            return False
        self._exact.add(lane.account_id)
        tickets = make_tickets(self.connection, [(row.id, row.spec) for row in jobs])
        lane.tickets = deque(tickets)
        return True

    def pay(self, queue: Pool, chosen: Pick) -> None:
        """Charge the lane in the database as it was charged in `queue`."""
        lane, tier, cost_s = chosen.lane, chosen.tier, chosen.ticket.cost_s
        row = account_lane.c
        self.connection.execute(
            update(account_lane)
            .where(row.account_id == lane.account_id, row.pool == self.pool)
            .values(pass_s=row.pass_s + cost_s, is_waiting=lane.is_waiting)
        )
        self.changes.advance(self.pool, tier.id, cost_s)
        self.changes.reach(self.pool, tier.id, pool_time_s=queue.time_s, time_s=tier.time_s)

    def _lock(self, account_id: str) -> str | None:
        """The account's plan, under its lock; None if somebody else holds it."""
        query = select(account.c.plan).where(account.c.id == account_id)
        plan: str | None = self.connection.execute(query.with_for_update(skip_locked=True)).scalar()
        if plan is None:
            self._busy.add(account_id)
        return plan

    def _repair(self, account_id: str) -> None:
        sync_lanes(self.connection, account_id, self.pool, plans=self.plans, changes=self.changes)
        self.has_repaired = True
