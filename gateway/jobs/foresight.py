"""A pool as it would stand if a request became a job now, for the forecast of an estimate."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from gateway.db.tables import account_lane
from gateway.domain.durations import DurationKey
from gateway.domain.plans import Plans
from gateway.domain.scheduling import Lane, Ticket, Tier, wake
from gateway.jobs.durations import expect
from gateway.jobs.snapshot import Snapshot
from gateway.jobs.waiting import cost_s
from models.spec import BatchKey

REQUEST_ID = "request"
"""Stands for the id of the job that does not exist; ids of jobs have a prefix."""


@dataclass(frozen=True)
class Request:
    """What the queue would know of a job. `tier_id`: the plan of its account."""

    pool: str
    account_id: str
    tier_id: str
    batch_key: BatchKey


def add_request(
    connection: Connection, snapshot: Snapshot, request: Request, *, plans: Plans
) -> Snapshot:
    """The snapshot, whose lanes are changed, with the request as the last job of its account."""
    key = DurationKey.of(request.batch_key)
    expected = expect(connection, [key])
    tier, lane = snapshot.lanes.get(request.account_id) or _open_lane(
        connection, snapshot, request, plans
    )
    took_part = lane.is_waiting
    lane.tickets.append(Ticket(REQUEST_ID, request.batch_key, cost_s(expected[key])))
    if lane.is_waiting and not took_part:
        wake(snapshot.pool, tier, lane)
    return replace(
        snapshot,
        lanes={**snapshot.lanes, request.account_id: (tier, lane)},
        expected={**snapshot.expected, **expected},
    )


def _open_lane(
    connection: Connection, snapshot: Snapshot, request: Request, plans: Plans
) -> tuple[Tier, Lane]:
    """The lane of an account without waiting jobs, as far as it was served before."""
    row = account_lane.c
    stored = connection.execute(
        select(row.pass_s).where(
            row.account_id == request.account_id,
            row.pool == request.pool,
            row.tier == request.tier_id,
        )
    ).scalar()
    num_running = sum(job.account_id == request.account_id for job in snapshot.running)
    room = plans.get(request.tier_id).max_running - num_running
    return snapshot.pool.tiers[request.tier_id], Lane(
        request.account_id, room, pass_s=stored or 0.0
    )
