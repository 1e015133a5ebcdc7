"""Which situations a run has reached, counted from what it left behind: rows, logs, the diary.

A run proves something about a situation only if it was in it.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from gateway.db.tables import attempt, job, lot
from gateway.domain.jobs import AttemptOutcome, JobState
from gateway.domain.points import LotKind
from gateway.protocol import FailureCode
from tests.chaos.diary import Diary
from tests.chaos.faults import HOSTS

_REAPED = "job_reaped"


def find_situations(connection: Connection, diary: Diary, logs_dir: Path) -> Counter[str]:
    """How often each was reached; those that were not are there with 0."""
    logs = {name: list(_events(logs_dir / f"{name}.log")) for name in ("gateway", *HOSTS)}
    found = Counter(dict.fromkeys(_ALWAYS_SHOWN, 0))
    found.update(_of_attempts(connection))
    found.update(_of_batches(connection))
    found.update(_of_jobs(connection))
    found.update(_of_gateway(connection, logs["gateway"]))
    for host in HOSTS:
        found.update(_of_host(logs[host]))
    found.update(diary.counts)
    return found


_ALWAYS_SHOWN = (
    "leases expired",
    "rendered by another worker after a loss",
    "zombie's upload refused",
    "zombie's finish refused",
    "zombie's failure refused",
    "canceled while queued",
    "canceled while running",
    "replayed",
    "batches of several jobs",
    "batches with a cancel in them",
    "renderer killed in a job",
    "failed after three attempts",
    "lost, but finished before anybody else began",
    "reported after an outage",
    "reported by the next life of a worker",
    "stale report of a real worker refused",
    "refunded into a grace lot",
)


def _of_attempts(connection: Connection) -> dict[str, int]:
    def count(*conditions: Any) -> int:
        query = select(func.count()).select_from(attempt).where(*conditions)
        return int(connection.execute(query).scalar_one())

    is_lost = attempt.c.outcome == AttemptOutcome.LOST
    later = attempt.alias()
    rescued = select(func.count()).where(
        is_lost,
        later.c.job_id == attempt.c.job_id,
        later.c.attempt > attempt.c.attempt,
        later.c.outcome == AttemptOutcome.SUCCEEDED,
    )
    return {
        "leases expired": count(is_lost),
        "canceled while running": count(attempt.c.outcome == AttemptOutcome.CANCELED),
        "renderer killed in a job": count(attempt.c.error_code == FailureCode.RENDERER_CRASHED),
        "rendered by another worker after a loss": int(connection.execute(rescued).scalar_one()),
    }


def _of_batches(connection: Connection) -> dict[str, int]:
    """A batch is what one worker claimed at one instant."""
    batches = defaultdict(list)
    for row in connection.execute(select(attempt).where(attempt.c.num_batched > 1)):
        batches[row.worker, row.started_at].append(row.outcome)
    mixed = [
        outcomes
        for outcomes in batches.values()
        if {AttemptOutcome.CANCELED, AttemptOutcome.SUCCEEDED} <= set(outcomes)
    ]
    return {"batches of several jobs": len(batches), "batches with a cancel in them": len(mixed)}


def _of_jobs(connection: Connection) -> dict[str, int]:
    last = (attempt.c.job_id == job.c.id) & (attempt.c.attempt == job.c.attempt)
    rows = connection.execute(
        select(job.c.state, job.c.error_code, attempt.c.outcome).outerjoin(attempt, last)
    ).all()
    waited = [row for row in rows if row.state == JobState.CANCELED]
    exhausted = [row for row in rows if row.error_code == FailureCode.WORKER_LOST]
    grace = select(func.count()).where(lot.c.kind == LotKind.GRACE)
    return {
        "canceled while queued": sum(row.outcome != AttemptOutcome.CANCELED for row in waited),
        "failed after three attempts": len(exhausted),
        "refunded into a grace lot": int(connection.execute(grace).scalar_one()),
    }


def _of_gateway(connection: Connection, events: list[dict[str, Any]]) -> Counter[str]:
    reaped = {(each["job_id"], each["attempt"]) for each in events if each["event"] == _REAPED}
    succeeded = connection.execute(
        select(attempt.c.job_id, attempt.c.attempt).where(
            attempt.c.outcome == AttemptOutcome.SUCCEEDED
        )
    )
    num_late = sum((row.job_id, row.attempt) in reaped for row in succeeded)
    named = {
        "redis_left_alone": "gateway left Redis alone",
        "database_failed": "transaction broken off by the database",
        "sweep_failed": "sweep broken off",
    }
    found = Counter(named[each["event"]] for each in events if each["event"] in named)
    found["lost, but finished before anybody else began"] = num_late
    return found


def _of_host(events: list[dict[str, Any]]) -> Counter[str]:
    named = {
        "leftover_found": "reported by the next life of a worker",
        "attempt_stale": "stale report of a real worker refused",
        "attempt_dropped": "attempt dropped by a real worker",
        "redis_unavailable": "worker lost Redis",
        "child_killed": "deaf renderer killed",
        "worker_ready": "worker came up",
    }
    found = Counter(named[each["event"]] for each in events if each["event"] in named)
    rendered_in: dict[str, int] = {}
    num_outages = 0
    for each in events:
        if each["event"] == "gateway_unavailable":
            num_outages += 1
        elif each["event"] == "job_rendered":
            rendered_in[each["job_id"]] = num_outages
        elif each["event"] == "attempt_reported":
            began = rendered_in.get(each["job_id"], num_outages)
            found["reported after an outage"] += began < num_outages
    return found


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log that are events; a kill may have cut one short."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event
