"""What must hold once the system is healed and every job has ended: in the database.

Each check yields the breaches it finds; none is what should be.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from gateway.db.tables import attempt, hold, idempotency, job, ledger_tx
from gateway.domain.jobs import OPEN_STATES, AttemptOutcome, JobState
from gateway.domain.points import TxKind
from gateway.points.audit import audit
from tests.chaos.diary import Breach, Diary

LOST = "an accepted job is lost"
DOUBLE = "a job was settled twice"


def check_database(connection: Connection, diary: Diary) -> Iterator[Breach]:
    """Everything that rows can tell."""
    yield from _lost(connection, diary)
    yield from _unlike_what_was_told(connection, diary)
    yield from _ended_twice(connection)
    yield from _attempts(connection)
    yield from _charges(connection)
    yield from _made_twice(connection)
    for found in audit(connection):
        yield Breach(f"audit: {found.rule}", found.detail)


def count_open_jobs(connection: Connection) -> int:
    """Jobs that wait or run."""
    query = select(func.count()).where(job.c.state.in_(sorted(OPEN_STATES)))
    return int(connection.execute(query).scalar_one())


def count_moves(connection: Connection) -> int:
    """Grows with everything that happens to jobs."""
    ends = select(func.count()).select_from(ledger_tx)
    return int(connection.execute(ends).scalar_one()) + int(
        connection.execute(select(func.count()).select_from(attempt)).scalar_one()
    )


def _lost(connection: Connection, diary: Diary) -> Iterator[Breach]:
    states = {row.id: JobState(row.state) for row in connection.execute(select(job))}
    for job_id in diary.acked:
        if job_id not in states:
            yield Breach(LOST, f"{job_id}: no such job")
        elif not states[job_id].is_terminal:
            yield Breach(LOST, f"{job_id} is {states[job_id]}")


def _unlike_what_was_told(connection: Connection, diary: Diary) -> Iterator[Breach]:
    for row in connection.execute(select(job.c.id, job.c.state, job.c.deleted_at)):
        told = diary.ended.get(row.id, row.state)
        if told != row.state:
            yield Breach("a job left its final state", f"{row.id}: {told}, then {row.state}")
        if row.id in diary.deleted and row.deleted_at is None:
            yield Breach("a deleted job is back", row.id)


def _ended_twice(connection: Connection) -> Iterator[Breach]:
    ends = (
        select(ledger_tx.c.job_id, func.count().label("number"))
        .where(ledger_tx.c.kind.in_([TxKind.SETTLE, TxKind.REFUND]))
        .group_by(ledger_tx.c.job_id)
        .having(func.count() > 1)
    )
    for row in connection.execute(ends):
        yield Breach(DOUBLE, f"{row.job_id}: {row.number} ends of its hold")
    succeeded = (
        select(attempt.c.job_id, func.count().label("number"))
        .where(attempt.c.outcome == AttemptOutcome.SUCCEEDED)
        .group_by(attempt.c.job_id)
        .having(func.count() > 1)
    )
    for row in connection.execute(succeeded):
        yield Breach(DOUBLE, f"{row.job_id}: {row.number} attempts succeeded")


def _attempts(connection: Connection) -> Iterator[Breach]:
    """Every execution has ended, and a job succeeded if and only if its last one did."""
    for row in connection.execute(select(attempt).where(attempt.c.ended_at.is_(None))):
        yield Breach("an attempt never ended", f"{row.job_id}, attempt {row.attempt}")
    succeeded = attempt.c.outcome == AttemptOutcome.SUCCEEDED
    winners = select(attempt.c.job_id, attempt.c.attempt).where(succeeded).subquery()
    query = select(job.c.id, job.c.state, job.c.attempt, winners.c.attempt.label("winner"))
    for row in connection.execute(query.outerjoin(winners, winners.c.job_id == job.c.id)):
        expected = row.attempt if row.state == JobState.SUCCEEDED else None
        if row.winner != expected:
            found = f"{row.id} {row.state} in attempt {row.attempt}; succeeded: {row.winner}"
            yield Breach("a job and its attempts disagree", found)


def _charges(connection: Connection) -> Iterator[Breach]:
    query = select(job.c.id, job.c.state, hold.c.points, hold.c.charged)
    for row in connection.execute(query.outerjoin(hold, hold.c.job_id == job.c.id)):
        due = row.points if row.state == JobState.SUCCEEDED else 0
        if row.points is None or row.charged != due:
            found = f"{row.id} {row.state}: {row.charged} charged of {row.points} held"
            yield Breach("a job is not charged if and only if it succeeded", found)


def _made_twice(connection: Connection) -> Iterator[Breach]:
    """Every request had a key, and every key has one job."""
    known = select(idempotency.c.job_id)
    for row in connection.execute(select(job.c.id).where(job.c.id.not_in(known))):
        yield Breach("one request made two jobs", f"{row.id} is the job of no key")
