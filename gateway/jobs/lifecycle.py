"""Every move of a job between its states, each with what it does to the hold.

One transaction a move: lock the account, compare-and-set the job, end the hold if the state is
final. Zero rows means that somebody else moved first. Beside `gateway.jobs.claim`, nothing else
writes `job.state`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from gateway.db.tables import artifact, hold, job
from gateway.domain.durations import DurationKey
from gateway.domain.errors import NotFound, StaleAttempt
from gateway.domain.jobs import OPEN_STATES, AttemptOutcome, JobState
from gateway.domain.plans import Plans
from gateway.domain.points import Fault
from gateway.domain.pricing import Breakdown
from gateway.jobs.attempts import close_attempt, count_crashes
from gateway.jobs.durations import note
from gateway.jobs.files import artifact_key
from gateway.jobs.lanes import follow
from gateway.jobs.repository import is_live
from gateway.jobs.waiting import batch_key_of
from gateway.points.holds import refund, settle
from gateway.points.ledger import lock_account
from gateway.protocol import (
    CompleteRequest,
    FailCode,
    FailRequest,
    FailureCode,
    InputRole,
    Rendered,
)
from models.spec import Kind

LOST_MESSAGE = "the worker that rendered this was lost"
MAX_CRASHES = 2


@dataclass(frozen=True)
class Moved:
    """What a job became. `attempt`: the execution that ended, 0 if none ran."""

    job_id: str
    account_id: str
    state: JobState
    attempt: int
    pool: str
    model: str


def complete(
    connection: Connection,
    job_id: str,
    request: CompleteRequest,
    *,
    keep_for: timedelta,
    plans: Plans,
    now: datetime,
) -> Moved | None:
    """The attempt succeeded: its files are the job's and the hold is spent.

    A digital human pays for the seconds that came out, which the hold only estimated.

    A lease that ran out does not void a finished render as long as nobody claimed the job since.
    None: this very call was made before and its answer got lost.

    Raises:
        StaleAttempt: the job has ended or runs elsewhere.
    """
    row = _lock_job(connection, job_id)
    if row.state == JobState.SUCCEEDED and row.attempt == request.attempt:
        return None
    _compare_and_set(
        connection,
        and_(
            job.c.id == job_id,
            job.c.attempt == request.attempt,
            job.c.state.in_(sorted(OPEN_STATES)),
        ),
        state=JobState.SUCCEEDED,
        lease_until=None,
        finished_at=now,
        expires_at=now + keep_for,
        rendered=request.rendered.model_dump(mode="json"),
    )
    connection.execute(
        insert(artifact),
        [
            {
                "job_id": job_id,
                "role": file.role,
                "key": artifact_key(job_id, request.attempt, file.role),
                "content_type": file.content_type,
                "size_bytes": file.size_bytes,
                "sha256": file.sha256,
                "created_at": now,
            }
            for file in request.artifacts
        ],
    )
    points = _points_for(connection, row, request.rendered)
    settle(connection, row.account_id, job_id, rules=plans.points, now=now, points=points)
    run = close_attempt(connection, job_id, request.attempt, AttemptOutcome.SUCCEEDED, now=now)
    taken_s = request.rendered.render_s / run.num_batched
    follow(connection, row.account_id, row.pool, plans=plans, excess_s=taken_s - run.charged_s)
    note(connection, DurationKey.of(batch_key_of(row.spec)), taken_s)
    return Moved(job_id, row.account_id, JobState.SUCCEEDED, request.attempt, row.pool, row.model)


def fail(
    connection: Connection,
    job_id: str,
    request: FailRequest,
    *,
    max_attempts: int,
    plans: Plans,
    now: datetime,
) -> Moved:
    """The attempt failed: the job waits again, or fails for good and is refunded.

    A job that has crashed its renderer twice is taken to be the cause, whatever its worker thinks.

    Raises:
        StaleAttempt: the job has ended or runs elsewhere.
    """
    row = _lock_job(connection, job_id)
    condition = _is_running(job_id, request.attempt)
    run = close_attempt(
        connection, job_id, request.attempt, AttemptOutcome.FAILED, request.code, now=now
    )
    is_poisoned = (
        request.code is FailureCode.RENDERER_CRASHED
        and count_crashes(connection, job_id) >= MAX_CRASHES
    )
    if request.retryable and request.attempt < max_attempts and not is_poisoned:
        moved = _requeue(connection, row, condition)
    else:
        moved = _fail_for_good(
            connection,
            row,
            condition,
            code=request.code,
            message=request.message,
            plans=plans,
            now=now,
        )
    excess_s = run.taken_s(now) - run.charged_s
    follow(connection, row.account_id, row.pool, plans=plans, excess_s=excess_s)
    return moved


def reap(
    connection: Connection, job_id: str, *, max_attempts: int, plans: Plans, now: datetime
) -> Moved | None:
    """Take a job whose lease ran out from its worker; None if it was renewed or ended meanwhile."""
    condition = and_(job.c.id == job_id, job.c.state == JobState.RUNNING, job.c.lease_until <= now)
    try:
        row = _lock_job(connection, job_id)
        if row.attempt < max_attempts:
            moved = _requeue(connection, row, condition)
        else:
            moved = _fail_for_good(
                connection,
                row,
                condition,
                code=FailureCode.WORKER_LOST,
                message=LOST_MESSAGE,
                plans=plans,
                now=now,
            )
    except StaleAttempt:
        return None
    _note_lost(connection, row, plans=plans, now=now)
    return moved


def take_back(connection: Connection, job_id: str, *, plans: Plans, now: datetime) -> Moved:
    """Take a running job from its worker at an operator's wish: it waits again, its hold kept.

    Raises:
        StaleAttempt: it does not run.
    """
    row = _lock_job(connection, job_id)
    moved = _requeue(connection, row, _is_running(job_id, row.attempt))
    _note_lost(connection, row, plans=plans, now=now)
    return moved


def cancel(
    connection: Connection, account_id: str, job_id: str, *, plans: Plans, now: datetime
) -> Moved | None:
    """End an open job at its owner's wish and refund it; None if it has ended already.

    A worker that runs it learns so within a step; whatever it still sends is stale.

    Raises:
        NotFound: the account has no such job.
    """
    row = _lock_own_job(connection, account_id, job_id)
    if JobState(row.state).is_terminal:
        return None
    _compare_and_set(
        connection,
        and_(job.c.id == job_id, job.c.state == row.state, job.c.attempt == row.attempt),
        state=JobState.CANCELED,
        lease_until=None,
        finished_at=now,
        error_code=FailureCode.CANCELED,
        error_message="canceled by its owner",
    )
    refund(connection, row.account_id, job_id, fault=Fault.CLIENTS, rules=plans.points, now=now)
    run = close_attempt(
        connection, job_id, row.attempt, AttemptOutcome.CANCELED, FailureCode.CANCELED, now=now
    )
    excess_s = run.taken_s(now) - run.charged_s
    follow(connection, row.account_id, row.pool, plans=plans, excess_s=excess_s)
    _drop_inputs(connection, job_id)
    return Moved(job_id, row.account_id, JobState.CANCELED, row.attempt, row.pool, row.model)


def forget(
    connection: Connection, account_id: str, job_id: str, *, plans: Plans, now: datetime
) -> Moved | None:
    """Cancel the job if it is open, then remove it from its owner's sight; what cancel answered.

    The row stays for the ledger, without what the client wrote.

    Raises:
        NotFound: the account has no such job.
    """
    moved = cancel(connection, account_id, job_id, plans=plans, now=now)
    connection.execute(delete(artifact).where(artifact.c.job_id == job_id))
    spec = connection.execute(select(job.c.spec).where(job.c.id == job_id)).scalar_one()
    blank = {**spec, "prompt": "", "negative_prompt": "", "performance": None}
    connection.execute(
        update(job).where(job.c.id == job_id).values(deleted_at=now, spec=blank, client_metadata={})
    )
    return moved


def _note_lost(
    connection: Connection,
    row: Any,  # noqa: ANN401 -- a row of `job`
    *,
    plans: Plans,
    now: datetime,
) -> None:
    """The attempt was taken from its worker, which is not its account's doing: it costs nothing."""
    run = close_attempt(
        connection, row.id, row.attempt, AttemptOutcome.LOST, FailureCode.WORKER_LOST, now=now
    )
    follow(connection, row.account_id, row.pool, plans=plans, excess_s=-run.charged_s)


def _requeue(connection: Connection, row: Any, condition: ColumnElement[bool]) -> Moved:  # noqa: ANN401 -- a row of `job`
    _compare_and_set(connection, condition, state=JobState.QUEUED, lease_until=None, worker=None)
    return Moved(row.id, row.account_id, JobState.QUEUED, row.attempt, row.pool, row.model)


def _fail_for_good(
    connection: Connection,
    row: Any,  # noqa: ANN401 -- a row of `job`
    condition: ColumnElement[bool],
    *,
    code: FailCode,
    message: str,
    plans: Plans,
    now: datetime,
) -> Moved:
    _compare_and_set(
        connection,
        condition,
        state=JobState.FAILED,
        lease_until=None,
        finished_at=now,
        error_code=code,
        error_message=message,
    )
    refund(connection, row.account_id, row.id, fault=Fault.OURS, rules=plans.points, now=now)
    _drop_inputs(connection, row.id)
    return Moved(row.id, row.account_id, JobState.FAILED, row.attempt, row.pool, row.model)


def _lock_job(connection: Connection, job_id: str) -> Any:  # noqa: ANN401 -- a row of `job`
    """The job as it is under its account's lock, which every move of its jobs takes first."""
    account_id = connection.execute(select(job.c.account_id).where(is_live(job_id))).scalar()
    if account_id is None:
        raise StaleAttempt(f"no job {job_id}")
    lock_account(connection, account_id)
    return connection.execute(select(job).where(job.c.id == job_id)).one()


def _lock_own_job(connection: Connection, account_id: str, job_id: str) -> Any:  # noqa: ANN401 -- a row of `job`
    lock_account(connection, account_id)
    row = connection.execute(
        select(job).where(is_live(job_id), job.c.account_id == account_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFound(f"no video {job_id}", param="video_id")
    return row


def _is_running(job_id: str, number: int) -> ColumnElement[bool]:
    return and_(job.c.id == job_id, job.c.attempt == number, job.c.state == JobState.RUNNING)


def _compare_and_set(
    connection: Connection, condition: ColumnElement[bool], **values: object
) -> None:
    if connection.execute(update(job).where(condition).values(**values)).rowcount != 1:
        raise StaleAttempt("the job has ended or is with another worker")


def _drop_inputs(connection: Connection, job_id: str) -> None:
    connection.execute(
        delete(artifact).where(artifact.c.job_id == job_id, artifact.c.role.in_(sorted(InputRole)))
    )


def _points_for(connection: Connection, row: Any, made: Rendered) -> int | None:  # noqa: ANN401 -- a row of `job`
    """What the finished video costs; None for all that was held."""
    if row.kind != Kind.DIGITAL_HUMAN:
        return None
    query = select(hold.c.breakdown).where(hold.c.job_id == row.id)
    held = Breakdown.model_validate(connection.execute(query).scalar_one())
    return held.for_seconds(Fraction(made.num_frames, row.spec["fps"])).points
