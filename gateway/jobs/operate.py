"""What operators ask about jobs and workers, whoever owns them. Reads only.

Taking a job from its worker is a move like any other: `gateway.jobs.lifecycle.take_back`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select

from gateway.db.tables import account, attempt, hold, job, worker
from gateway.domain.jobs import OPEN_STATES, AttemptOutcome, JobState
from gateway.jobs.workers import WorkerState, state_of

# What a client wrote; shown on demand alone.
_CLIENTS_WORDS = ("prompt", "negative_prompt")
_BAD = {AttemptOutcome.FAILED, AttemptOutcome.LOST}
_RECENT = timedelta(days=7)


@dataclass(frozen=True)
class JobLine:
    """A job in a list. `worker`: who has it now."""

    id: str
    account: str
    plan: str
    state: JobState
    pool: str
    model: str
    attempt: int
    worker: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    deleted_at: datetime | None
    error_code: str | None


@dataclass(frozen=True)
class AttemptLine:
    """One execution of a job; without `outcome` it goes on."""

    attempt: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error_code: str | None


@dataclass(frozen=True)
class HoldLine:
    """What was set aside for a job, and what became of it."""

    points: int
    charged: int | None
    price_version: str
    closed_at: datetime | None


@dataclass(frozen=True)
class JobCase:
    """Everything known about one job."""

    job: JobLine
    lease_until: datetime | None
    error_message: str | None
    spec: dict[str, Any]
    attempts: list[AttemptLine]
    hold: HoldLine | None


@dataclass(frozen=True)
class QueueLine:
    """The open jobs of one plan's accounts in one pool."""

    pool: str
    plan: str
    waiting: int
    running: int
    oldest_wait_s: float | None


@dataclass
class WorkerLine:
    """A worker, by what it said last and what it did in the last seven days.

    Attributes:
        last_seen_at: None if it is known by its attempts alone.
        unfit_reason: why it could not render when it was last heard of.
        failures_in_a_row: attempts that failed or were lost since the last one that succeeded.
    """

    name: str
    state: WorkerState = WorkerState.DEAD
    pool: str | None = None
    is_draining: bool = False
    unfit_reason: str | None = None
    loaded_models: list[str] = field(default_factory=list)
    last_seen_at: datetime | None = None
    running: list[str] = field(default_factory=list)
    last_attempt_at: datetime | None = None
    last_outcome: str | None = None
    failures_in_a_row: int = 0


def list_job_lines(
    connection: Connection,
    *,
    state: JobState | None = None,
    account_name: str | None = None,
    pool: str | None = None,
    limit: int,
) -> list[JobLine]:
    """The newest jobs that match, deleted ones too."""
    query = _job_lines().order_by(job.c.id.desc()).limit(limit)
    if state is not None:
        query = query.where(job.c.state == state)
    if account_name is not None:
        query = query.where(account.c.name == account_name)
    if pool is not None:
        query = query.where(job.c.pool == pool)
    return [_to_line(row) for row in connection.execute(query)]


def find_case(connection: Connection, job_id: str, *, show_prompt: bool = False) -> JobCase | None:
    """One job with its attempts and its hold, without what the client wrote unless asked for."""
    row = connection.execute(_job_lines().where(job.c.id == job_id)).one_or_none()
    if row is None:
        return None
    hidden = () if show_prompt else _CLIENTS_WORDS
    return JobCase(
        job=_to_line(row),
        lease_until=row.lease_until,
        error_message=row.error_message,
        spec={name: value for name, value in row.spec.items() if name not in hidden},
        attempts=_list_attempts(connection, job_id),
        hold=_find_hold(connection, job_id),
    )


def list_queue(connection: Connection, *, now: datetime) -> list[QueueLine]:
    """Waiting and running jobs by pool and plan."""
    waiting = job.c.state == JobState.QUEUED
    rows = connection.execute(
        select(
            job.c.pool,
            account.c.plan,
            func.count().filter(waiting).label("waiting"),
            func.count().filter(~waiting).label("running"),
            func.min(job.c.created_at).filter(waiting).label("oldest_at"),
        )
        .join(account, account.c.id == job.c.account_id)
        .where(job.c.state.in_(sorted(OPEN_STATES)))
        .group_by(job.c.pool, account.c.plan)
        .order_by(job.c.pool, account.c.plan)
    )
    return [
        QueueLine(
            row.pool,
            row.plan,
            row.waiting,
            row.running,
            (now - row.oldest_at).total_seconds() if row.oldest_at else None,
        )
        for row in rows
    ]


def list_worker_lines(
    connection: Connection, *, now: datetime, alive_for: timedelta
) -> list[WorkerLine]:
    """Workers that were heard of or had work lately, by name; silent for `alive_for` is dead."""
    running = _running_by_worker(connection)
    lines = {
        row.name: WorkerLine(
            row.name,
            state_of(row, running.get(row.name, ()), seen_since=now - alive_for),
            row.pool,
            row.is_draining,
            row.unfit_reason,
            row.loaded_models,
            row.last_seen_at,
        )
        for row in connection.execute(select(worker))
    }
    recent = connection.execute(
        select(attempt)
        .where(attempt.c.started_at >= now - _RECENT)
        .order_by(attempt.c.started_at, attempt.c.job_id)
    )
    _add_history(lines, recent)
    for name, job_ids in running.items():
        lines.setdefault(name, WorkerLine(name)).running = job_ids
    return [lines[name] for name in sorted(lines)]


def _running_by_worker(connection: Connection) -> dict[str, list[str]]:
    held = connection.execute(
        select(job.c.worker, job.c.id).where(job.c.state == JobState.RUNNING).order_by(job.c.id)
    )
    running: dict[str, list[str]] = {}
    for row in held:
        running.setdefault(row.worker, []).append(row.id)
    return running


def _list_attempts(connection: Connection, job_id: str) -> list[AttemptLine]:
    rows = connection.execute(
        select(attempt).where(attempt.c.job_id == job_id).order_by(attempt.c.attempt)
    )
    return [
        AttemptLine(
            row.attempt, row.worker, row.started_at, row.ended_at, row.outcome, row.error_code
        )
        for row in rows
    ]


def _find_hold(connection: Connection, job_id: str) -> HoldLine | None:
    row = connection.execute(select(hold).where(hold.c.job_id == job_id)).one_or_none()
    if row is None:
        return None
    return HoldLine(row.points, row.charged, row.price_version, row.closed_at)


def _add_history(lines: dict[str, WorkerLine], attempts: Iterable[Row[Any]]) -> None:
    """What became of the attempts, given in the order in which they began."""
    for row in attempts:
        line = lines.setdefault(row.worker, WorkerLine(row.worker))
        line.last_attempt_at, line.last_outcome = row.started_at, row.outcome
        if row.outcome in _BAD:
            line.failures_in_a_row += 1
        elif row.outcome == AttemptOutcome.SUCCEEDED:
            line.failures_in_a_row = 0


def _job_lines() -> Select[Any]:
    return select(job, account.c.name, account.c.plan).join(
        account, account.c.id == job.c.account_id
    )


def _to_line(row: Row[Any]) -> JobLine:
    return JobLine(
        id=row.id,
        account=row.name,
        plan=row.plan,
        state=JobState(row.state),
        pool=row.pool,
        model=row.model,
        attempt=row.attempt,
        worker=row.worker,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        deleted_at=row.deleted_at,
        error_code=row.error_code,
    )
