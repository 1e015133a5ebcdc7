"""Requests replayed under a configuration: what they burn, what is refused, how long they wait.

The decisions are the gateway's own functions (`check_plan`, `PriceList.quote`, the calendar of
`Plans`), asked in the gateway's order. The devices are a simple model: equal workers, the same
seconds for every job, the longest waiting first, an account's running jobs capped by its plan.
"""

import heapq
import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from gateway.domain.entitlement import check_plan
from gateway.domain.errors import (
    DailyLimit,
    InsufficientPoints,
    InvalidRequest,
    ModelNotFound,
    PlanLimit,
    TooManyJobs,
)
from gateway.domain.plans import Plan, Plans
from gateway.domain.points import Fault
from gateway.domain.pricing import PriceList
from gateway.domain.trace import Outcome, Request
from gateway.domain.wallet import Part, Wallet
from models.catalog import Catalog
from models.spec import VideoSpec

_FAULTS = {Outcome.FAILED: Fault.OURS, Outcome.CANCELED: Fault.CLIENTS}


@dataclass(frozen=True)
class Devices:
    """The simple model of what renders."""

    num_workers: int = 1
    seconds_per_job: float = 30


@dataclass(frozen=True)
class PlanResult:
    """What became of one plan's requests.

    Attributes:
        refused: requests by the code of their refusal.
        points_refunded: held for jobs that failed or were canceled, and given back.
        unmet_points: what the refused requests would have cost, as far as they have a price.
        wait_p50_s: seconds until a job began, in the middle; None without any.
    """

    requests: int
    accepted: int
    refused: dict[str, int]
    points_burnt: int
    points_refunded: int
    unmet_points: int
    wait_p50_s: float | None
    wait_p90_s: float | None


@dataclass
class _Tally:
    requests: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    points_burnt: int = 0
    points_refunded: int = 0
    unmet_points: int = 0
    waits_s: list[float] = field(default_factory=list)

    def result(self) -> PlanResult:
        return PlanResult(
            requests=self.requests,
            accepted=self.accepted,
            refused=dict(sorted(self.refused.items())),
            points_burnt=self.points_burnt,
            points_refunded=self.points_refunded,
            unmet_points=self.unmet_points,
            wait_p50_s=percentile(self.waits_s, 50),
            wait_p90_s=percentile(self.waits_s, 90),
        )


@dataclass
class _Job:
    number: int
    request: Request
    points: int
    parts: list[Part]


@dataclass
class _Account:
    wallet: Wallet
    max_running: int = 1
    waiting: deque[_Job] = field(default_factory=deque)
    num_running: int = 0
    is_ready: bool = False
    day: date | None = None
    num_today: int = 0

    @property
    def has_room(self) -> bool:
        return self.num_running < self.max_running


def simulate(
    requests: Iterable[Request],
    *,
    catalog: Catalog,
    plans: Plans,
    prices: PriceList,
    devices: Devices,
) -> dict[str, PlanResult]:
    """Replay `requests`, given in the order of their instants; the results by their plan.

    A plan that `plans` lacks is treated as the gateway does: as the default. A canceled job leaves
    the line when its turn comes, and takes no device.
    """
    run = _Run(catalog, plans, prices, devices)
    for request in requests:
        run.send(request)
    run.drain()
    known = [plan.id for plan in plans.plans if plan.id in run.tallies]
    order = dict.fromkeys([*known, *sorted(run.tallies)])
    return {plan: run.tallies[plan].result() for plan in order}


def percentile(values: list[float], percent: int) -> float | None:
    """The smallest value that `percent` of 100 of `values` do not exceed (nearest rank)."""
    if not values:
        return None
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]


class _Run:
    def __init__(self, catalog: Catalog, plans: Plans, prices: PriceList, devices: Devices) -> None:
        self.tallies: dict[str, _Tally] = {}
        self._catalog, self._plans, self._prices = catalog, plans, prices
        self._duration = timedelta(seconds=devices.seconds_per_job)
        self._num_free = devices.num_workers
        self._accounts: dict[str, _Account] = {}
        self._ready: list[tuple[int, str]] = []
        self._running: list[tuple[datetime, int, _Job]] = []
        self._num_jobs = 0

    def send(self, request: Request) -> None:
        """One request: accepted and put in line, or refused and counted."""
        self._advance(request.at)
        tally = self.tallies.setdefault(request.plan, _Tally())
        tally.requests += 1
        points = None
        try:
            spec = _spec_of(request, self._catalog)
            points = self._prices.quote(spec).points
            job = self._accept(request, spec, points)
        except (InvalidRequest, PlanLimit, TooManyJobs, DailyLimit, InsufficientPoints) as refused:
            tally.refused[refused.code] += 1
            tally.unmet_points += points or 0
            return
        tally.accepted += 1
        self._put_in_line(job, request.at)

    def drain(self) -> None:
        """Let everything end that was accepted."""
        self._advance(datetime.max.replace(tzinfo=UTC))

    def _accept(self, request: Request, spec: VideoSpec, points: int) -> _Job:
        """As `gateway.jobs.submit` decides, in its order."""
        plan = self._plans.get(request.plan)
        account = self._accounts.setdefault(request.account, _Account(Wallet(self._plans)))
        account.max_running = plan.max_running
        account.wallet.refresh(plan, request.at)
        check_plan(spec, plan, self._plans)
        self._check_counts(account, plan, request.at)
        parts = account.wallet.hold(points, request.at)
        if parts is None:
            raise InsufficientPoints(required=points, available=0, next_grant_at=None)
        account.num_today += 1
        self._num_jobs += 1
        return _Job(self._num_jobs, request, points, parts)

    def _check_counts(self, account: _Account, plan: Plan, now: datetime) -> None:
        today = self._plans.day_of(now)
        if account.day != today:
            account.day, account.num_today = today, 0
        if len(account.waiting) >= plan.max_queued:
            raise TooManyJobs(limit=plan.max_queued)
        if plan.max_jobs_per_day is not None and account.num_today >= plan.max_jobs_per_day:
            raise DailyLimit(limit=plan.max_jobs_per_day, resets_at=self._plans.end_of(today))

    def _put_in_line(self, job: _Job, now: datetime) -> None:
        account = self._accounts[job.request.account]
        account.waiting.append(job)
        self._offer(job.request.account)
        self._start_waiting(now)

    def _offer(self, name: str) -> None:
        """Name the account's first job as one that may begin, if its plan lets it now."""
        account = self._accounts[name]
        if account.waiting and not account.is_ready and account.has_room:
            account.is_ready = True
            heapq.heappush(self._ready, (account.waiting[0].number, name))

    def _advance(self, until: datetime) -> None:
        while self._running and self._running[0][0] <= until:
            now, _, job = heapq.heappop(self._running)
            self._num_free += 1
            self._accounts[job.request.account].num_running -= 1
            self._end(job, now)
            self._offer(job.request.account)
            self._start_waiting(now)

    def _start_waiting(self, now: datetime) -> None:
        while self._ready and self._num_free:
            _, name = heapq.heappop(self._ready)
            account = self._accounts[name]
            account.is_ready = False
            # A change of plan may have taken its room since.
            if account.has_room:
                self._start(account, account.waiting.popleft(), now)
                self._offer(name)

    def _start(self, account: _Account, job: _Job, now: datetime) -> None:
        if job.request.outcome is Outcome.CANCELED:
            self._end(job, now)
            return
        waited = now - job.request.at
        self.tallies[job.request.plan].waits_s.append(waited.total_seconds())
        account.num_running += 1
        self._num_free -= 1
        heapq.heappush(self._running, (now + self._duration, job.number, job))

    def _end(self, job: _Job, now: datetime) -> None:
        tally = self.tallies[job.request.plan]
        fault = _FAULTS.get(job.request.outcome)
        if fault is None:
            tally.points_burnt += job.points
        else:
            wallet = self._accounts[job.request.account].wallet
            tally.points_refunded += wallet.give_back(job.parts, fault, now)


def _spec_of(request: Request, catalog: Catalog) -> VideoSpec:
    card = catalog.find(request.model)
    if card is None:
        raise ModelNotFound(f"no model {request.model!r}", param="model")
    offers: tuple[tuple[str, Iterable[object], object], ...] = (
        ("kind", card.kinds, request.kind),
        ("mode", card.modes, request.mode),
        ("size", card.size_sources, request.size),
        ("seconds", card.seconds, request.seconds),
        ("fps", card.rate_sources, request.fps),
    )
    for param, offered, value in offers:
        if value not in offered:
            raise InvalidRequest(f"{card.id} has no {param} {value}", param=param, value=value)
    return card.example(
        kind=request.kind,
        mode=request.mode,
        size=request.size,
        fps=request.fps,
        seconds=request.seconds,
    )
