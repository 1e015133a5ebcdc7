"""What clients are told about waiting: the fair position, and when the video will be there.

A forecast of a pool is kept for `KEEP_FOR`. A short queue is forecast anew when somebody asks, a
long one by housekeeping, so that no request waits for it.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from gateway.clock import Clock
from gateway.domain.forecast import Eta, Simulation
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plans
from gateway.jobs.foresight import REQUEST_ID, Request, add_request
from gateway.jobs.repository import Job, find_plan_id
from gateway.jobs.snapshot import Snapshot, take_snapshot
from gateway.jobs.waiting import batch_room_of
from gateway.jobs.workers import list_live_workers
from models.catalog import Catalog

KEEP_FOR = timedelta(seconds=5)
# What a request may forecast by itself: a few milliseconds.
SHORT_QUEUE = 50
# A long queue that nobody asks about is left alone; one that housekeeping forgot is not.
_ASKED_LATELY = timedelta(minutes=1)
_ABANDONED = timedelta(seconds=30)

log = structlog.get_logger()


@dataclass(frozen=True)
class _Forecast:
    made_at: datetime
    etas: dict[str, Eta]
    num_waiting: int
    last_of_account: dict[str, Eta]
    first_of_tier: dict[str, Eta]


class Forecasts:
    """Forecasts of every pool, shared by the threads of one process.

    A worker counts as one that serves while it was heard of within `alive_for`.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        plans: Plans,
        catalog: Catalog,
        swap_s: float,
        alive_for: timedelta,
    ) -> None:
        self._clock = clock
        self._plans = plans
        self._catalog = catalog
        self._swap_s = swap_s
        self._alive_for = alive_for
        self._lock = threading.Lock()
        self._forecasts: dict[str, _Forecast] = {}
        self._asked_at: dict[str, datetime] = {}

    def find(self, connection: Connection, jobs: Sequence[Job]) -> dict[str, Eta]:
        """For those of `jobs` that wait or run: what to expect. Jobs far back in line are left out.

        A job that came after a forecast was made is placed by the last job of its account in it,
        or by the first of its tier.
        """
        still_open = [job for job in jobs if not job.state.is_terminal]
        found = {}
        for pool in {job.pool for job in still_open}:
            mine = [job for job in still_open if job.pool == pool]
            forecast = self._current(connection, pool, {job.id for job in mine})
            for job in mine:
                eta = forecast.etas.get(job.id) or self._place(connection, job, forecast)
                if eta is not None:
                    is_waiting = job.state is JobState.QUEUED
                    found[job.id] = eta if is_waiting else Eta(None, eta.p50_s, eta.p90_s)
        return found

    def pools_to_refresh(self) -> list[str]:
        """Pools asked about whose queue is too long to be forecast by those who ask."""
        now = self._clock.now()
        return [
            pool
            for pool, forecast in list(self._forecasts.items())
            if forecast.num_waiting > SHORT_QUEUE and now - self._asked_at[pool] < _ASKED_LATELY
        ]

    def foresee(self, connection: Connection, request: Request) -> Eta | None:
        """What to expect of a request if it became a job now; None if that cannot be told.

        A long queue is not forecast for it: it is placed as a job that came after the forecast.
        """
        pool = request.pool
        forecast = self._current(connection, pool, set())
        if forecast.num_waiting > SHORT_QUEUE:
            last = forecast.last_of_account.get(request.account_id)
            return last or forecast.first_of_tier.get(request.tier_id)
        snapshot = self._look(connection, pool)
        with_it = add_request(connection, snapshot, request, plans=self._plans)
        return self._simulate(with_it)[REQUEST_ID]

    def refresh(self, connection: Connection, pool: str) -> None:
        """Forecast a pool anew."""
        now = self._clock.now()
        snapshot = self._look(connection, pool)
        account_of = {
            ticket.job_id: (tier.id, lane.account_id)
            for tier, lane in snapshot.lanes.values()
            for ticket in lane.tickets
        }
        etas = self._simulate(snapshot)
        forecast = _Forecast(now, etas, snapshot.num_waiting, {}, {})
        for job_id, eta in etas.items():
            if job_id in account_of:
                tier_id, account_id = account_of[job_id]
                forecast.last_of_account[account_id] = eta
                forecast.first_of_tier.setdefault(tier_id, eta)
        self._forecasts[pool] = forecast

    def _look(self, connection: Connection, pool: str) -> Snapshot:
        now = self._clock.now()
        workers = list_live_workers(connection, pool, seen_since=now - self._alive_for)
        return take_snapshot(connection, pool, workers, plans=self._plans, now=now)

    def _simulate(self, snapshot: Snapshot) -> dict[str, Eta]:
        return Simulation(
            snapshot.pool,
            snapshot.lanes,
            snapshot.devices,
            expected=snapshot.expected,
            swap_s=self._swap_s,
            batch_room=batch_room_of(self._catalog),
        ).run(snapshot.running)

    def _current(self, connection: Connection, pool: str, job_ids: set[str]) -> _Forecast:
        """The forecast to answer from; made now if that is quick, or if there is none of use."""
        now = self._clock.now()
        self._asked_at[pool] = now
        known = self._forecasts.get(pool)
        if known is not None and not self._is_due(known, job_ids, now):
            return known
        # Others answer from what there is; only the very first forecast is waited for.
        if self._lock.acquire(blocking=known is None):
            try:
                if self._forecasts.get(pool) is known:
                    self.refresh(connection, pool)
            finally:
                self._lock.release()
        return self._forecasts[pool]

    @staticmethod
    def _is_due(known: _Forecast, job_ids: set[str], now: datetime) -> bool:
        # A clock that was set back makes every forecast look young; then it is due as well.
        age = abs(now - known.made_at)
        if known.num_waiting > SHORT_QUEUE:
            return age >= _ABANDONED
        return age >= KEEP_FOR or not job_ids <= known.etas.keys()

    def _place(self, connection: Connection, job: Job, forecast: _Forecast) -> Eta | None:
        if job.created_at < forecast.made_at:
            return None
        last = forecast.last_of_account.get(job.account_id)
        if last is not None:
            return last
        plan_id = find_plan_id(connection, job.id)
        return forecast.first_of_tier.get(self._plans.get(plan_id or "").id)
