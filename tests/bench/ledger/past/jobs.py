"""Rows of jobs: themselves, their attempt, their hold, and what the last day's requests left."""

from datetime import timedelta

from sqlalchemy import case, literal
from sqlalchemy.sql.dml import Insert

from gateway.db.tables import attempt, hold, idempotency, job
from gateway.domain.jobs import AttemptOutcome, JobState
from gateway.protocol import FailureCode
from tests.bench.ledger.past.frame import SPAN, Frame, rows, seed

WORKER = "gpu-07.render.example"
RENDERED = {
    "width": 64,
    "height": 64,
    "num_frames": 17,
    "fps": 8.0,
    "duration_s": 2.125,
    "label": {"Label": "1", "ContentProducer": "reelgate", "ProduceID": "01kaj3v7m0000000"},
    "render_s": 41.7,
}

_is_failed = seed.c.is_failed == 1


def jobs(frame: Frame) -> Insert:
    """All have ended."""
    spec = frame.workload.spec
    return rows(
        job,
        seed,
        id=seed.c.id,
        account_id=seed.c.account_id,
        state=case((_is_failed, JobState.FAILED), else_=JobState.SUCCEEDED),
        pool=frame.workload.card.pool,
        kind=spec.kind,
        model=spec.model,
        spec=spec.model_dump(mode="json"),
        client_metadata={},
        attempt=1,
        worker=WORKER,
        created_at=seed.c.created_at,
        started_at=seed.c.created_at,
        finished_at=seed.c.ended_at,
        expires_at=seed.c.ended_at,
        error_code=case((_is_failed, FailureCode.WORKER_LOST)),
        rendered=RENDERED,
    )


def attempts(_frame: Frame) -> Insert:
    """One for each job."""
    return rows(
        attempt,
        seed,
        job_id=seed.c.id,
        attempt=1,
        worker=WORKER,
        started_at=seed.c.created_at,
        ended_at=seed.c.ended_at,
        outcome=case((_is_failed, AttemptOutcome.LOST), else_=AttemptOutcome.SUCCEEDED),
        error_code=case((_is_failed, FailureCode.WORKER_LOST)),
    )


def holds(frame: Frame) -> Insert:
    """One for each job, closed."""
    quote = frame.workload.prices.quote(frame.workload.spec)
    return rows(
        hold,
        seed,
        job_id=seed.c.id,
        account_id=seed.c.account_id,
        points=quote.points,
        charged=case((_is_failed, 0), else_=quote.points),
        price_version=quote.price_version,
        breakdown=quote.breakdown.model_dump(mode="json"),
        created_at=seed.c.created_at,
        closed_at=seed.c.ended_at,
    )


def identities(frame: Frame) -> Insert:
    """Of the last day's jobs; older ones have been dropped."""
    first = frame.num_jobs - max(1, frame.num_jobs // SPAN.days)
    recent = seed.select().where(seed.c.n >= first).subquery()
    return rows(
        idempotency,
        recent,
        account_id=recent.c.account_id,
        key=literal("key:") + recent.c.id,
        fingerprint="0" * 64,
        job_id=recent.c.id,
        expires_at=frame.now + timedelta(hours=12),
    )
