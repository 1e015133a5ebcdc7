"""Random histories: the claim in the database serves whom the rule serves."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select

from gateway.db.tables import account_lane, duration, job, tier_lane
from gateway.domain.durations import DurationKey
from gateway.domain.plans import Plans
from gateway.domain.scheduling import Lane, Pool, Ticket, Tier, correct, drop, serve, wake
from gateway.jobs import lifecycle
from gateway.jobs.claim import claim
from gateway.protocol import FailRequest, FailureCode
from gateway.services import Services
from tests.support.clock import ManualClock
from tests.support.waiting import POOL, Want, add_accounts, add_job, completion, spec_of, with_caps

# Divisible by every weight and batch size, so that sums are exact and ties are ties.
UNIT_S = 144.0
COSTS = {10: UNIT_S, 20: 2 * UNIT_S, 30: 4 * UNIT_S}
MODELS = ("a", "b", "c")
TIERS = ("free", "plus", "top")


@pytest.fixture
def plans(services: Services) -> Plans:
    """Weights 1, 3 and 8, and caps that are met."""
    return with_caps(services.configuration.plans, free=1, plus=2, top=3)


class History:
    """The same moves on the database and on the structures of the rule."""

    def __init__(self, services: Services, plans: Plans, clock: ManualClock, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311 -- a repeatable history
        self.database, self.plans, self.clock = services.database, plans, clock
        self.pool = Pool({plan.id: Tier(plan.id, plan.weight) for plan in plans.plans})
        self.lanes: dict[str, tuple[Tier, Lane]] = {}
        self.waiting: list[str] = []
        self.running: dict[str, tuple[str, Ticket, int]] = {}
        self.attempts: Counter[str] = Counter()
        owners = {f"acc_{number}": self.rng.choice(TIERS) for number in range(8)}
        with self.database.write() as connection:
            add_accounts(connection, owners, now=clock.now())
            for model in MODELS:
                for steps, cost_s in COSTS.items():
                    key = DurationKey.of(spec_of(Want("", model, steps)).batch_key)
                    known = {"mean_s": cost_s, "deviation_s": 0.0, "num_measured": 9}
                    connection.execute(duration.insert().values(**key._asdict(), **known))
        for account_id, tier in owners.items():
            lane = Lane(account_id, plans.get(tier).max_running)
            self.lanes[account_id] = (self.pool.tiers[tier], lane)

    def submit(self) -> None:
        """Somebody sends something."""
        account_id = self.rng.choice(sorted(self.lanes))
        want = Want(account_id, self.rng.choice(MODELS), self.rng.choice(sorted(COSTS)))
        with self.database.write() as connection:
            job_id = add_job(connection, want, plans=self.plans, now=self.clock.now())
        self._put(account_id, Ticket(job_id, spec_of(want).batch_key, COSTS[want.steps]))

    def claim(self) -> None:
        """A worker asks, and both serve it the same."""
        room, model = self.rng.randint(1, 3), self.rng.choice([None, *MODELS])
        with self.database.write() as connection:
            claimed = claim(
                connection,
                POOL,
                "w",
                limit=room,
                lease_s=60,
                plans=self.plans,
                now=self.clock.now(),
                loaded_model=model,
                swap_s=UNIT_S,
            )
        picks = serve(self.pool, room=room, loaded_model=model, swap_s=UNIT_S)
        assert claimed == [each.ticket.job_id for each in picks]
        for each in picks:
            self.waiting.remove(each.ticket.job_id)
            self.attempts[each.ticket.job_id] += 1
            self.running[each.ticket.job_id] = (each.lane.account_id, each.ticket, len(picks))

    def complete(self) -> None:
        """A job is done, in some other time than expected."""
        if job_id := self._any_running():
            account_id, ticket, num_batched = self.running.pop(job_id)
            render_s = UNIT_S * self.rng.randint(1, 6)
            with self.database.write() as connection:
                lifecycle.complete(
                    connection,
                    job_id,
                    completion(self.attempts[job_id], render_s),
                    keep_for=timedelta(hours=1),
                    plans=self.plans,
                    now=self.clock.now(),
                )
            self._release(account_id, render_s / num_batched - ticket.cost_s)

    def fail(self) -> None:
        """A job fails, for good or not."""
        if job_id := self._any_running():
            account_id, ticket, num_batched = self.running.pop(job_id)
            is_retried = self.rng.random() < 0.5
            request = FailRequest(
                attempt=self.attempts[job_id],
                code=FailureCode.MODEL_ERROR,
                message="no",
                retryable=is_retried,
            )
            with self.database.write() as connection:
                started_at = connection.execute(
                    select(job.c.started_at).where(job.c.id == job_id)
                ).scalar_one()
                lifecycle.fail(
                    connection,
                    job_id,
                    request,
                    max_attempts=100,
                    plans=self.plans,
                    now=self.clock.now(),
                )
            elapsed_s = (self.clock.now() - started_at).total_seconds()
            back = ticket if is_retried else None
            self._release(account_id, elapsed_s / num_batched - ticket.cost_s, back)

    def lose(self) -> None:
        """A worker is lost."""
        if job_id := self._any_running():
            account_id, ticket, _ = self.running.pop(job_id)
            with self.database.write() as connection:
                lifecycle.take_back(connection, job_id, plans=self.plans, now=self.clock.now())
            self._release(account_id, -ticket.cost_s, ticket)

    def cancel(self) -> None:
        """Somebody changes their mind."""
        if not self.waiting:
            return
        job_id = self.rng.choice(self.waiting)
        for tier, lane in self.lanes.values():
            for ticket in [each for each in lane.tickets if each.job_id == job_id]:
                with self.database.write() as connection:
                    lifecycle.cancel(
                        connection,
                        lane.account_id,
                        job_id,
                        plans=self.plans,
                        now=self.clock.now(),
                    )
                self.waiting.remove(job_id)
                if len(lane.tickets) == 1 and lane.is_waiting:
                    drop(tier, lane)
                lane.tickets.remove(ticket)

    def _any_running(self) -> str | None:
        return self.rng.choice(sorted(self.running)) if self.running else None

    def _put(self, account_id: str, ticket: Ticket | None) -> None:
        if ticket is None:
            return
        _, lane = self.lanes[account_id]
        self.waiting.append(ticket.job_id)
        ordered = sorted([*lane.tickets, ticket], key=lambda each: each.job_id)
        was_waiting = lane.is_waiting
        lane.tickets.clear()
        lane.tickets.extend(ordered)
        self._wake(account_id, was_waiting=was_waiting)

    def _release(self, account_id: str, excess_s: float, back: Ticket | None = None) -> None:
        tier, lane = self.lanes[account_id]
        correct(tier, lane, excess_s)
        was_waiting = lane.is_waiting
        lane.room += 1
        if lane.tickets:
            self._wake(account_id, was_waiting=was_waiting)
        self._put(account_id, back)

    def _wake(self, account_id: str, *, was_waiting: bool) -> None:
        tier, lane = self.lanes[account_id]
        if lane.is_waiting and not was_waiting:
            wake(self.pool, tier, lane)


@pytest.mark.parametrize("seed", range(4))
def test_the_claim_agrees_with_the_rule_on_any_history(
    services: Services,
    plans: Plans,
    clock: ManualClock,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "note", lambda *_: None)
    history = History(services, plans, clock, seed)
    moves = [history.submit, history.claim, history.complete]
    rare = [history.fail, history.lose, history.cancel]
    for _ in range(120):
        clock.advance(seconds=UNIT_S)
        history.rng.choice([*moves, *moves, *moves, *rare])()
    with services.database.read() as connection:
        rows = {row.account_id: row for row in connection.execute(select(account_lane))}
        tiers = {row.tier: row.pass_s for row in connection.execute(select(tier_lane))}
    for tier, lane in history.lanes.values():
        if lane.account_id in rows:
            assert rows[lane.account_id].pass_s == lane.pass_s
            assert rows[lane.account_id].is_waiting == lane.is_waiting
            assert tiers[tier.id] == tier.pass_s
