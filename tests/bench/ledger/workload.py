"""What is measured: accounts that ask for one short video each, through the gateway's `submit`."""

import hashlib
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from gateway.accounts.service import Caller, Scope
from gateway.db.session import Database
from gateway.domain.plans import Plan, Plans
from gateway.domain.pricing import PriceList
from gateway.ids import JOB_PREFIX, new_id
from gateway.jobs.idempotency import KEY_TTL, RequestIdentity
from gateway.jobs.submit import Order, submit
from gateway.services import load_configuration
from models.card import ModelCard
from models.spec import Kind, VideoSpec

CONFIGS = Path(__file__).parents[3] / "configs"
PROMPT = "a paper boat drifts down a rain-filled street at dusk, lanterns reflected in the water"
NO_CAP = 1_000_000


@dataclass(frozen=True)
class Workload:
    """What is asked for, and the rules it is asked under.

    Attributes:
        plans: the shipped ones with their caps on jobs lifted, not left out: they are still
            counted, so that one account may be asked of often.
    """

    card: ModelCard
    spec: VideoSpec
    plans: Plans
    prices: PriceList


@dataclass(frozen=True)
class Request:
    """One call of `submit`."""

    caller: Caller
    order: Order
    now: datetime


@dataclass(frozen=True)
class Latency:
    """Seconds of one transaction, and of that before its commit."""

    total_s: float
    work_s: float


def load_workload() -> Workload:
    """The shipped configuration and its default video."""
    found = load_configuration(CONFIGS)
    card = found.catalog.default
    spec = card.example(
        kind=Kind.TEXT_TO_VIDEO,
        mode=card.default_mode,
        size=card.sizes[0],
        fps=card.fps[0],
        seconds=card.seconds[0],
        prompt=PROMPT,
    )
    plans = [_without_caps(plan) for plan in found.plans.plans]
    return Workload(card, spec, found.plans.model_copy(update={"plans": plans}), found.prices)


def make_requests(workload: Workload, account_ids: Iterable[str], now: datetime) -> list[Request]:
    """A new request of each account, a millisecond apart, each with an idempotency key."""
    requests = []
    for number, account_id in enumerate(account_ids):
        instant = now + timedelta(milliseconds=number)
        job_id = new_id(JOB_PREFIX, instant)
        fingerprint = hashlib.sha256(job_id.encode()).hexdigest()
        identity = RequestIdentity(f"key:{job_id}", fingerprint, KEY_TTL, replays=True)
        order = Order(job_id, workload.card, workload.spec, None, {}, identity)
        caller = Caller(account_id, "key", is_suspended=False, scope=Scope.CLIENT)
        requests.append(Request(caller, order, instant))
    return requests


def send(database: Database, request: Request, workload: Workload) -> Latency:
    """One submit, in the transaction that the HTTP route would open and commit."""
    started = time.perf_counter()
    with database.write() as connection:
        submit(
            connection,
            request.caller,
            request.order,
            plans=workload.plans,
            prices=workload.prices,
            now=request.now,
        )
        worked = time.perf_counter()
    return Latency(time.perf_counter() - started, worked - started)


def send_all(url: str, requests: list[Request], workload: Workload) -> None:
    """Submit everything, untimed."""
    with closing(Database(url)) as database:
        for request in requests:
            send(database, request, workload)


def _without_caps(plan: Plan) -> Plan:
    per_day = None if plan.max_jobs_per_day is None else NO_CAP
    return plan.model_copy(update={"max_queued": NO_CAP, "max_jobs_per_day": per_day})
