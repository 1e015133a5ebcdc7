"""Submit: one transaction decides everything about a request, or leaves no trace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, insert

from gateway.accounts.service import Caller
from gateway.db.tables import artifact, job
from gateway.domain.entitlement import cheaper_request, check_plan
from gateway.domain.errors import AccountSuspended, DailyLimit, InsufficientPoints, TooManyJobs
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plan, Plans
from gateway.domain.pricing import PriceList, Quote, billed_seconds
from gateway.jobs.audio import GivenAudio
from gateway.jobs.files import input_key
from gateway.jobs.idempotency import RequestIdentity, find_replay, remember
from gateway.jobs.images import CONTENT_TYPE, NormalisedImage
from gateway.jobs.lanes import follow
from gateway.jobs.repository import count_jobs_since, count_queued_jobs
from gateway.points.holds import place_hold
from gateway.points.ledger import lock_account
from gateway.points.service import available_points, refresh
from gateway.protocol import InputRole
from models.card import ModelCard
from models.spec import VideoSpec


@dataclass(frozen=True)
class Order:
    """A checked request, ready to become the job `job_id`.

    Its files, if any, already lie in the store under the job's id. `more_pictures` are the last
    frame and the references.
    """

    job_id: str
    card: ModelCard
    spec: VideoSpec
    image: NormalisedImage | None
    client_metadata: dict[str, str]
    identity: RequestIdentity
    audio: GivenAudio | None = None
    more_pictures: Mapping[InputRole, NormalisedImage] = field(default_factory=dict)

    @property
    def files(self) -> list["OrderFile"]:
        """What was given with it."""
        pictures = {InputRole.IMAGE: self.image} if self.image else {}
        files = [
            OrderFile(role, picture.png, CONTENT_TYPE, picture.sha256)
            for role, picture in {**pictures, **self.more_pictures}.items()
        ]
        if self.audio:
            audio = self.audio
            files.append(OrderFile(InputRole.AUDIO, audio.data, audio.content_type, audio.sha256))
        return files


@dataclass(frozen=True)
class OrderFile:
    """A file given with a request, as it is kept."""

    role: InputRole
    content: bytes
    content_type: str
    sha256: str


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
        AccountSuspended, PlanLimit, TooManyJobs, DailyLimit, InsufficientPoints,
        IdempotencyMismatch: nothing is left.
    """
    account_id = caller.account_id
    lock_account(connection, account_id)
    earlier = find_replay(connection, account_id, order.identity, now=now)
    if earlier is not None:
        return Placed(earlier, is_replay=True)
    if caller.is_suspended:
        raise AccountSuspended("this account is suspended; it can look, not submit")
    plan = refresh(connection, account_id, plans=plans, now=now)
    check_plan(order.spec, plan, plans)
    _check_counts(connection, account_id, plan, plans=plans, now=now)
    quote = prices.quote(order.spec)
    _insert_job(connection, account_id, order, now)
    if not place_hold(connection, account_id, order.job_id, quote=quote, now=now):
        raise _too_few_points(
            connection, account_id, order, quote, plan=plan, plans=plans, prices=prices, now=now
        )
    remember(connection, account_id, order.identity, order.job_id, now=now)
    follow(connection, account_id, order.card.pool, plans=plans)
    return Placed(order.job_id, is_replay=False)


def describe(spec: VideoSpec, points: int) -> dict[str, object]:
    """A request in the fields of the API, and its price."""
    return {
        "model": spec.model,
        "mode": spec.mode,
        "size": spec.size,
        "seconds": float(billed_seconds(spec)),
        "fps": spec.fps,
        "generate_audio": spec.generate_audio,
        "points": points,
    }


def _check_counts(
    connection: Connection, account_id: str, plan: Plan, *, plans: Plans, now: datetime
) -> None:
    if count_queued_jobs(connection, account_id) >= plan.max_queued:
        raise TooManyJobs(limit=plan.max_queued)
    if plan.max_jobs_per_day is None:
        return
    today = plans.day_of(now)
    if count_jobs_since(connection, account_id, plans.start_of(today)) >= plan.max_jobs_per_day:
        raise DailyLimit(limit=plan.max_jobs_per_day, resets_at=plans.end_of(today))


def _too_few_points(
    connection: Connection,
    account_id: str,
    order: Order,
    quote: Quote,
    *,
    plan: Plan,
    plans: Plans,
    prices: PriceList,
    now: datetime,
) -> InsufficientPoints:
    available = available_points(connection, account_id)
    cheaper = cheaper_request(order.spec, order.card, plan=plan, prices=prices, available=available)
    return InsufficientPoints(
        required=quote.points,
        available=available,
        next_grant_at=plans.end_of(plans.day_of(now)) if plan.daily_points else None,
        cheaper=describe(cheaper, prices.quote(cheaper).points) if cheaper else None,
    )


def _insert_job(connection: Connection, account_id: str, order: Order, now: datetime) -> None:
    spec = order.spec
    connection.execute(
        insert(job).values(
            id=order.job_id,
            account_id=account_id,
            state=JobState.QUEUED,
            pool=order.card.pool,
            kind=spec.kind,
            model=spec.model,
            spec=spec.model_dump(mode="json"),
            client_metadata=order.client_metadata,
            attempt=0,
            created_at=now,
        )
    )
    for file in order.files:
        connection.execute(
            insert(artifact).values(
                job_id=order.job_id,
                role=file.role,
                key=input_key(order.job_id, file.role),
                content_type=file.content_type,
                size_bytes=len(file.content),
                sha256=file.sha256,
                created_at=now,
            )
        )
