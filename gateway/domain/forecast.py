"""When waiting jobs will be done: the rule of `gateway.domain.scheduling`, run forward in time.

What nobody can know is left out: jobs yet to come, workers that appear or vanish, failures.
"""

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.domain.durations import Duration, DurationKey, p90
from gateway.domain.scheduling import Lane, Pick, Pool, Tier, serve, wake
from models.spec import BatchKey

# A render that has taken longer than expected is taken to need this part of it yet.
_LEAST_LEFT = 0.1


@dataclass(frozen=True)
class Eta:
    """When a job will be done. `position`: its place in the queue, None once it runs.

    The times are seconds from the moment of the forecast: as likely later as earlier, and later
    in one case of ten; None if no worker lives.
    """

    position: int | None
    p50_s: float | None
    p90_s: float | None


@dataclass
class Device:
    """A worker. `room`: most jobs of one claim."""

    loaded_model: str | None
    room: int = 1


@dataclass(frozen=True)
class Running:
    """A job that runs.

    Attributes:
        device: index of its worker; None if the worker was not heard of lately, or serves
            another pool.
        elapsed_s: since it was claimed.
        num_batched: jobs that were claimed with it.
    """

    job_id: str
    account_id: str
    device: int | None
    expected: Duration
    elapsed_s: float
    num_batched: int

    @property
    def left_s(self) -> float:
        """Seconds it still takes."""
        total_s = self.expected.mean_s * self.num_batched
        return max(total_s - self.elapsed_s, total_s * _LEAST_LEFT)

    @property
    def variance(self) -> float:
        """Of `left_s`, in square seconds."""
        return self.expected.sigma_s**2 * self.num_batched


@dataclass(order=True)
class _Event:
    """Jobs of `accounts` end, and `device` is free."""

    at_s: float
    number: int
    variance: float = field(compare=False)
    accounts: list[str] = field(compare=False)
    device: int | None = field(compare=False)


class Simulation:
    """A pool and its workers from now on; consumes the `pool` it is given.

    `lanes` has the lane of every account with waiting jobs and its tier, those without room too.
    """

    def __init__(
        self,
        pool: Pool,
        lanes: Mapping[str, tuple[Tier, Lane]],
        devices: Sequence[Device],
        *,
        expected: Mapping[DurationKey, Duration],
        swap_s: float,
        batch_room: Callable[[BatchKey], int],
    ) -> None:
        self._pool = pool
        self._lanes = lanes
        self._has_workers = bool(devices)
        # Without a worker the order can still be told.
        self._devices = list(devices) or [Device(None)]
        self._expected = expected
        self._swap_s = swap_s
        self._batch_room = batch_room
        self._events: list[_Event] = []
        self._numbers = itertools.count()
        self._positions = itertools.count(1)
        self._etas: dict[str, Eta] = {}

    def run(self, running: Sequence[Running]) -> dict[str, Eta]:
        """What is to be expected of every job that runs or waits, as far as it can be told."""
        idle = self._begin(running)
        now_s, variance = 0.0, 0.0
        while True:
            idle = [each for each in idle if not self._serve(each, now_s, variance)]
            if not self._events:
                return self._etas
            event = heapq.heappop(self._events)
            now_s, variance = event.at_s, event.variance
            for account_id in event.accounts:
                self._release(account_id)
            if event.device is not None:
                idle.append(event.device)

    def _begin(self, running: Sequence[Running]) -> list[int]:
        """Let what runs now end in time; the workers that are free at once."""
        busy: dict[int, list[Running]] = {}
        for job in running:
            self._etas[job.job_id] = self._eta(None, job.left_s, job.variance)
            if job.device is None:
                self._plan(job.left_s, job.variance, [job.account_id], None)
            else:
                busy.setdefault(job.device, []).append(job)
        for device, jobs in busy.items():
            last = max(jobs, key=lambda job: job.left_s)
            accounts = [job.account_id for job in jobs]
            self._plan(last.left_s, last.variance, accounts, device)
        return [device for device in range(len(self._devices)) if device not in busy]

    def _serve(self, number: int, now_s: float, variance: float) -> bool:
        """Let a free worker claim; False if there is nothing for it."""
        device = self._devices[number]
        picks = serve(
            self._pool,
            room=device.room,
            loaded_model=device.loaded_model,
            swap_s=self._swap_s,
            batch_room=self._batch_room,
        )
        if not picks:
            return False
        model = picks[0].ticket.model
        took = [self._expected[DurationKey.of(each.ticket.batch_key)] for each in picks]
        end_s = now_s + sum(each.mean_s for each in took)
        if device.loaded_model != model:
            end_s += self._swap_s
        device.loaded_model = model
        variance += sum(each.sigma_s**2 for each in took)
        for each in picks:
            self._etas[each.ticket.job_id] = self._eta(next(self._positions), end_s, variance)
        self._plan(end_s, variance, [_account(each) for each in picks], number)
        return True

    def _release(self, account_id: str) -> None:
        """One job less of the account runs."""
        if account_id not in self._lanes:
            return
        tier, lane = self._lanes[account_id]
        took_part = lane.is_waiting
        lane.room += 1
        if lane.is_waiting and not took_part:
            wake(self._pool, tier, lane)

    def _plan(self, at_s: float, variance: float, accounts: list[str], device: int | None) -> None:
        event = _Event(at_s, next(self._numbers), variance, accounts, device)
        heapq.heappush(self._events, event)

    def _eta(self, position: int | None, mean_s: float, variance: float) -> Eta:
        if not self._has_workers:
            return Eta(position, None, None)
        return Eta(position, mean_s, p90(mean_s, variance))


def _account(chosen: Pick) -> str:
    return chosen.lane.account_id
