"""Who renders what: claims, and the leases that keep them.

A claim is decided in the database at the moment a worker asks; see `gateway.jobs.lifecycle` for
every other move of a job.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from gateway.db.tables import account, attempt, job
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plans
from gateway.protocol import AttemptRef


def claim(
    connection: Connection,
    pool: str,
    worker: str,
    *,
    limit: int,
    lease_s: float,
    plans: Plans,
    now: datetime,
) -> list[str]:
    """Give up to `limit` waiting jobs of `pool` to `worker`; their ids, the longest waiting first.

    An account never runs more at once than its plan allows, however many workers ask together:
    the account's row is locked for the count, and one that somebody else holds is passed over.
    """
    claimed: list[str] = []
    passed_over: set[str] = set()
    while len(claimed) < limit:
        head = _find_head(connection, pool, passed_over)
        if head is None:
            break
        if _has_room(connection, head.account_id, plans) and _take(
            connection, head, worker, lease_until=now + timedelta(seconds=lease_s), now=now
        ):
            claimed.append(head.id)
        else:
            passed_over.add(head.account_id)
    return claimed


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


def _find_head(connection: Connection, pool: str, passed_over: set[str]) -> Any:  # noqa: ANN401 -- a row or None
    query = (
        select(job.c.id, job.c.account_id, job.c.attempt)
        .where(job.c.pool == pool, job.c.state == JobState.QUEUED)
        .order_by(job.c.id)
        .limit(1)
    )
    if passed_over:
        query = query.where(job.c.account_id.not_in(sorted(passed_over)))
    return connection.execute(query).first()


def _has_room(connection: Connection, account_id: str, plans: Plans) -> bool:
    """Whether one more job of the account may run; holds its row from here on."""
    plan_id = connection.execute(
        select(account.c.plan).where(account.c.id == account_id).with_for_update(skip_locked=True)
    ).scalar()
    if plan_id is None:
        return False
    running = connection.execute(
        select(func.count()).where(job.c.account_id == account_id, job.c.state == JobState.RUNNING)
    ).scalar_one()
    return int(running) < plans.get(plan_id).max_running


def _take(
    connection: Connection,
    head: Any,  # noqa: ANN401 -- a row of `_find_head`
    worker: str,
    *,
    lease_until: datetime,
    now: datetime,
) -> bool:
    taken = connection.execute(
        update(job)
        .where(
            job.c.id == head.id,
            job.c.attempt == head.attempt,
            job.c.state == JobState.QUEUED,
        )
        .values(
            state=JobState.RUNNING,
            attempt=head.attempt + 1,
            worker=worker,
            lease_until=lease_until,
            started_at=now,
        )
    )
    if taken.rowcount == 0:
        return False
    connection.execute(
        insert(attempt).values(
            job_id=head.id, attempt=head.attempt + 1, worker=worker, started_at=now
        )
    )
    return True
