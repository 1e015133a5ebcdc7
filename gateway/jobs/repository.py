"""Queries about jobs and their files, as typed values."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select, union

from gateway.db.tables import account, artifact, hold, job
from gateway.domain.jobs import OPEN_STATES, JobState
from gateway.ids import JOB_PREFIX, lowest_id
from gateway.protocol import FailureCode, Rendered
from models.spec import Kind, VideoSpec

_LONGEST_WAIT = timedelta(days=1)


@dataclass(frozen=True)
class Job:
    """A job as the database has it, with its hold."""

    id: str
    account_id: str
    state: JobState
    pool: str
    kind: Kind
    model: str
    spec: VideoSpec
    client_metadata: dict[str, str]
    attempt: int
    worker: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    error_code: FailureCode | None
    error_message: str | None
    rendered: Rendered | None
    points_held: int
    points_charged: int | None
    price_version: str


@dataclass(frozen=True)
class Artifact:
    """A stored file of a job."""

    job_id: str
    role: str
    key: str
    content_type: str
    size_bytes: int
    sha256: str


def find_job(connection: Connection, job_id: str) -> Job | None:
    """The job, whoever owns it; None if there is none or it was deleted."""
    row = connection.execute(_jobs().where(job.c.id == job_id)).one_or_none()
    return None if row is None else _to_job(row)


def find_own_job(connection: Connection, account_id: str, job_id: str) -> Job | None:
    """The job if it belongs to the account; None otherwise."""
    found = find_job(connection, job_id)
    return found if found and found.account_id == account_id else None


def find_plan_id(connection: Connection, job_id: str) -> str | None:
    """The plan of the job's owner."""
    return connection.execute(
        select(account.c.plan).join(job, job.c.account_id == account.c.id).where(job.c.id == job_id)
    ).scalar()


def list_jobs(
    connection: Connection, account_id: str, *, after: str | None, limit: int, newest_first: bool
) -> list[Job]:
    """A page of the account's jobs by time of submission, starting behind the job `after`."""
    query = _jobs().where(job.c.account_id == account_id).limit(limit)
    if after is not None:
        query = query.where(job.c.id < after if newest_first else job.c.id > after)
    order = job.c.id.desc() if newest_first else job.c.id.asc()
    return [_to_job(row) for row in connection.execute(query.order_by(order))]


def list_watched_jobs(
    connection: Connection, account_id: str, *, known: Collection[str], since: datetime
) -> list[Job]:
    """What a page of the account shows: open jobs, `known` ones, and those ended after `since`.

    Jobs that waited for more than a day before they ended are found by `known` alone.
    """
    own = select(job.c.id).where(job.c.account_id == account_id)
    # Three lookups by index each; one condition with OR would read all the account's jobs.
    ids = union(
        own.where(job.c.state.in_(sorted(OPEN_STATES))),
        own.where(job.c.id.in_(sorted(known))),
        own.where(
            job.c.id >= lowest_id(JOB_PREFIX, since - _LONGEST_WAIT), job.c.finished_at >= since
        ),
    )
    rows = connection.execute(_jobs().where(job.c.id.in_(ids)).order_by(job.c.id))
    return [_to_job(row) for row in rows]


def count_queued_jobs(connection: Connection, account_id: str) -> int:
    """Jobs of the account that wait."""
    query = select(func.count()).where(
        job.c.account_id == account_id, job.c.state == JobState.QUEUED
    )
    return int(connection.execute(query).scalar_one())


def count_jobs_since(connection: Connection, account_id: str, instant: datetime) -> int:
    """Jobs the account has sent since `instant`, however they ended. Ids sort by time."""
    query = select(func.count()).where(
        job.c.account_id == account_id, job.c.id >= lowest_id(JOB_PREFIX, instant)
    )
    return int(connection.execute(query).scalar_one())


def count_jobs(connection: Connection, pools: Collection[str]) -> dict[tuple[str, JobState], int]:
    """Open jobs of `pools` by pool and state; the pools' names let an index count them."""
    rows = connection.execute(
        select(job.c.pool, job.c.state, func.count())
        .where(job.c.pool.in_(sorted(pools)), job.c.state.in_(sorted(OPEN_STATES)))
        .group_by(job.c.pool, job.c.state)
    )
    return {(row[0], JobState(row[1])): row[2] for row in rows}


def find_artifact(connection: Connection, job_id: str, role: str) -> Artifact | None:
    """One stored file of a job."""
    return next((found for found in list_artifacts(connection, job_id) if found.role == role), None)


def list_artifacts(connection: Connection, job_id: str) -> list[Artifact]:
    """Every stored file of a job, given ones included."""
    rows = connection.execute(select(artifact).where(artifact.c.job_id == job_id))
    return [
        Artifact(row.job_id, row.role, row.key, row.content_type, row.size_bytes, row.sha256)
        for row in rows
    ]


def is_live(job_id: str) -> ColumnElement[bool]:
    """The condition that names a job which was not deleted."""
    return (job.c.id == job_id) & job.c.deleted_at.is_(None)


def _jobs() -> Select[Any]:
    return (
        select(job, hold.c.points, hold.c.charged, hold.c.price_version)
        .join(hold, hold.c.job_id == job.c.id)
        .where(job.c.deleted_at.is_(None))
    )


def _to_job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        account_id=row.account_id,
        state=JobState(row.state),
        pool=row.pool,
        kind=Kind(row.kind),
        model=row.model,
        spec=VideoSpec.model_validate(row.spec),
        client_metadata=row.client_metadata,
        attempt=row.attempt,
        worker=row.worker,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        expires_at=row.expires_at,
        error_code=FailureCode(row.error_code) if row.error_code else None,
        error_message=row.error_message,
        rendered=Rendered.model_validate(row.rendered) if row.rendered else None,
        points_held=row.points,
        points_charged=row.charged,
        price_version=row.price_version,
    )
