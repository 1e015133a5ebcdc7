"""Submit: one transaction decides everything about a request, or leaves no trace."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert

from gateway.accounts.service import Caller
from gateway.db.tables import artifact, job
from gateway.domain.errors import AccountSuspended, TooManyJobs
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plans
from gateway.domain.pricing import PriceList
from gateway.jobs.files import input_key
from gateway.jobs.idempotency import RequestIdentity, find_replay, remember
from gateway.jobs.images import CONTENT_TYPE, NormalisedImage
from gateway.jobs.repository import count_open_jobs
from gateway.points.ledger import lock_account
from gateway.points.service import place_hold, refresh
from gateway.protocol import InputRole
from models.spec import VideoSpec


@dataclass(frozen=True)
class Order:
    """A checked request, ready to become the job `job_id`.

    Its picture, if any, already lies in the store under the job's id.
    """

    job_id: str
    pool: str
    spec: VideoSpec
    image: NormalisedImage | None
    client_metadata: dict[str, str]
    identity: RequestIdentity


@dataclass(frozen=True)
class Placed:
    """The job of an order; `is_replay` if an earlier request made it."""

    job_id: str
    is_replay: bool


def submit(
    connection: Connection,
    caller: Caller,
    order: Order,
    *,
    plans: Plans,
    prices: PriceList,
    now: datetime,
) -> Placed:
    """Make the order's job with its hold, or find the job that the same request made before.

    Raises:
        AccountSuspended, TooManyJobs, InsufficientPoints, IdempotencyMismatch: nothing is left.
    """
    lock_account(connection, caller.account_id)
    earlier = find_replay(connection, caller.account_id, order.identity, now=now)
    if earlier is not None:
        return Placed(earlier, is_replay=True)
    if caller.is_suspended:
        raise AccountSuspended("this account is suspended; it can look, not submit")
    plan = plans.get(caller.plan_id)
    if count_open_jobs(connection, caller.account_id) >= plan.max_open_jobs:
        raise TooManyJobs(limit=plan.max_open_jobs)
    refresh(connection, caller.account_id, plan=plan, plans=plans, now=now)
    _insert_job(connection, caller.account_id, order, now)
    place_hold(
        connection,
        caller.account_id,
        order.job_id,
        quote=prices.quote(order.spec),
        next_grant_at=plans.end_of(plans.day_of(now)) if plan.daily_points else None,
        now=now,
    )
    remember(connection, caller.account_id, order.identity, order.job_id, now=now)
    return Placed(order.job_id, is_replay=False)


def _insert_job(connection: Connection, account_id: str, order: Order, now: datetime) -> None:
    spec = order.spec
    connection.execute(
        insert(job).values(
            id=order.job_id,
            account_id=account_id,
            state=JobState.QUEUED,
            pool=order.pool,
            kind=spec.kind,
            model=spec.model,
            spec=spec.model_dump(mode="json"),
            client_metadata=order.client_metadata,
            attempt=0,
            created_at=now,
        )
    )
    if order.image is not None:
        connection.execute(
            insert(artifact).values(
                job_id=order.job_id,
                role=InputRole.IMAGE,
                key=input_key(order.job_id, InputRole.IMAGE),
                content_type=CONTENT_TYPE,
                size_bytes=len(order.image.png),
                sha256=order.image.sha256,
                created_at=now,
            )
        )
