"""The executions of a job: how each ended, and what its lane was charged for it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from gateway.db.tables import attempt
from gateway.domain.jobs import AttemptOutcome
from gateway.protocol import FailCode, FailureCode


@dataclass(frozen=True)
class Run:
    """An execution that has ended.

    Attributes:
        started_at: None if nothing ran.
        charged_s: device-seconds its lane still stands charged with.
        num_batched: jobs that were claimed, so rendered, together with it.
    """

    started_at: datetime | None = None
    charged_s: float = 0.0
    num_batched: int = 1

    def taken_s(self, now: datetime) -> float:
        """Device-seconds that it had until now: its part of the batch's time."""
        if self.started_at is None:
            return 0.0
        return max((now - self.started_at).total_seconds(), 0.0) / self.num_batched


def close_attempt(
    connection: Connection,
    job_id: str,
    number: int,
    outcome: AttemptOutcome,
    code: FailCode | None = None,
    *,
    now: datetime,
) -> Run:
    """End an execution. One that had ended before is charged with nothing."""
    this = (attempt.c.job_id == job_id) & (attempt.c.attempt == number)
    row = connection.execute(select(attempt).where(this)).one_or_none()
    if row is None:
        return Run()
    is_open = row.ended_at is None
    # One that was given up for lost and came back with its video did succeed.
    if is_open or outcome is AttemptOutcome.SUCCEEDED:
        values = {"ended_at": now, "outcome": outcome, "error_code": code}
        connection.execute(update(attempt).where(this).values(values))
    return Run(
        started_at=row.started_at if is_open else None,
        charged_s=(row.charged_s or 0.0) if is_open else 0.0,
        num_batched=row.num_batched or 1,
    )


def count_crashes(connection: Connection, job_id: str) -> int:
    """Executions of the job that took their renderer down with them."""
    query = select(func.count()).where(
        attempt.c.job_id == job_id, attempt.c.error_code == FailureCode.RENDERER_CRASHED
    )
    return int(connection.execute(query).scalar_one())
