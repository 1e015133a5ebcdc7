"""The rule in a pool of several workers, over hours: jobs come, end, free room, change models."""

import heapq
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from itertools import count

from gateway.domain.scheduling import Lane, Pool, Ticket, Tier, serve, wake

WEIGHTS = {"free": 1, "plus": 3, "top": 8}
JOB_S, SWAP_S = 10.0, 30.0


class Rig:
    """Workers that claim one job at a time, render it in `JOB_S`, and load a model in `SWAP_S`."""

    def __init__(self, num_workers: int, *, swap_s: float = SWAP_S) -> None:
        self.pool = Pool({tier: Tier(tier, weight) for tier, weight in WEIGHTS.items()})
        self.lanes: dict[str, tuple[Tier, Lane]] = {}
        self.started: list[tuple[str, str]] = []
        """Tier and account of every job that began."""
        self.swaps = 0
        self.idle_claims = 0
        self._swap_s = swap_s
        self._numbers = count()
        self._models: list[str | None] = [None] * num_workers
        self._events: list[tuple[float, int, int, str | None]] = [
            (0.0, next(self._numbers), worker, None) for worker in range(num_workers)
        ]

    def open(self, tier: str, account: str, *, cap: int) -> None:
        """An account without jobs."""
        self.lanes[account] = (self.pool.tiers[tier], Lane(account, cap))

    def submit(self, account: str, model: str = "a") -> None:
        """One more job."""
        key = ("text_to_video", model, "64x64", 17, 10, 3.0, 8, "standard")
        tier, lane = self.lanes[account]
        took_part = lane.is_waiting
        lane.tickets.append(Ticket(f"job_{next(self._numbers):08}", key, JOB_S))
        if lane.is_waiting and not took_part:
            wake(self.pool, tier, lane)

    def run(self, num_claims: int, before_claim: Callable[[], None] = lambda: None) -> None:
        """Let so many claims be made, each when a worker is free."""
        for _ in range(num_claims):
            now_s, _, worker, done = heapq.heappop(self._events)
            if done is not None:
                self._free(done)
            before_claim()
            picks = serve(self.pool, room=1, loaded_model=self._models[worker], swap_s=self._swap_s)
            if not picks:
                self.idle_claims += 1
                heapq.heappush(self._events, (now_s + 1, next(self._numbers), worker, None))
                continue
            [chosen] = picks
            swaps = self._models[worker] != chosen.ticket.model
            self.swaps += swaps
            self._models[worker] = chosen.ticket.model
            self.started.append((chosen.tier.id, chosen.lane.account_id))
            end_s = now_s + JOB_S + swaps * SWAP_S
            event = (end_s, next(self._numbers), worker, chosen.lane.account_id)
            heapq.heappush(self._events, event)

    def _free(self, account: str) -> None:
        tier, lane = self.lanes[account]
        took_part = lane.is_waiting
        lane.room += 1
        if lane.is_waiting and not took_part:
            wake(self.pool, tier, lane)


def make_crowd(rig: Rig, rng: random.Random, *, num_jobs: int) -> None:
    """Three plans whose accounts have jobs of three models without end, and caps that are met."""
    for tier, num_accounts, cap in (("free", 12, 1), ("plus", 6, 2), ("top", 4, 2)):
        for number in range(num_accounts):
            rig.open(tier, f"{tier}-{number}", cap=cap)
            for _ in range(num_jobs):
                rig.submit(f"{tier}-{number}", rng.choice("abc"))


def test_several_workers_share_by_weight_within_one_job() -> None:
    rig = Rig(4, swap_s=0)
    make_crowd(rig, random.Random(1), num_jobs=400)  # noqa: S311 -- a repeatable crowd
    rig.run(1200)
    assert rig.idle_claims == 0
    counts: Counter[str] = Counter()
    for number, (tier, _) in enumerate(rig.started, 1):
        counts[tier] += 1
        turns = [counts[each] / weight for each, weight in WEIGHTS.items()]
        assert max(turns) - min(turns) <= 1
        if number % 12 == 0:
            for each, weight in WEIGHTS.items():
                assert abs(counts[each] - weight * number / 12) <= 1
    accounts = Counter(account for _, account in rig.started)
    for tier in WEIGHTS:
        mine = [number for account, number in accounts.items() if account.startswith(tier)]
        assert max(mine) - min(mine) <= 1


def test_models_are_swapped_seldom_and_the_weights_hold_but_for_a_swap() -> None:
    """Half the swaps at least are saved, and no tier is further off than the slack allows."""
    fair, thrifty = Rig(3, swap_s=0), Rig(3)
    for rig in (fair, thrifty):
        make_crowd(rig, random.Random(2), num_jobs=400)  # noqa: S311 -- the same crowd twice
        rig.run(1200)
    assert thrifty.swaps <= fair.swaps / 2
    counts = Counter(tier for tier, _ in thrifty.started)
    for tier, weight in WEIGHTS.items():
        slack_s = (SWAP_S + JOB_S) * (1 + weight)
        assert abs(counts[tier] - weight * 100) * JOB_S <= slack_s


def test_a_flood_of_300_delays_a_quiet_account_by_at_most_one_job_on_several_workers() -> None:
    rig = Rig(4, swap_s=0)
    rig.open("free", "flooder", cap=10**6)
    rig.open("free", "quiet", cap=1)
    for _ in range(300):
        rig.submit("flooder")
    rig.run(100)
    rig.submit("quiet")
    rig.run(3)
    since = rig.started[100:]
    assert since.index(("free", "quiet")) <= 1


def test_paid_jobs_that_never_cease_starve_nobody() -> None:
    """New paid jobs come faster than they are rendered; a free one starts in its tier's turn."""
    rng = random.Random(3)  # noqa: S311 -- a repeatable crowd
    rig = Rig(4, swap_s=0)
    payers = [f"top-{number}" for number in range(50)]
    for payer in payers:
        rig.open("top", payer, cap=4)
    rig.open("free", "quiet", cap=1)
    waits = []

    def pay() -> None:
        for _ in range(2):
            rig.submit(rng.choice(payers))

    rig.run(50, pay)
    for _ in range(20):
        begun = len(rig.started)
        rig.submit("quiet")
        rig.run(40, pay)
        waits.append(rig.started[begun:].index(("free", "quiet")))
    # The weights of both that wait, one job of each worker, and the job itself.
    assert max(waits) <= 8 + 1 + 4


def test_in_a_crowd_of_accounts_with_one_job_each_nobody_waits_longer_than_two_rounds() -> None:
    """One for those who were served less, one for those who were served as much."""
    rng = random.Random(4)  # noqa: S311 -- a repeatable crowd
    rig = Rig(1, swap_s=0)
    accounts = [f"a{number:03}" for number in range(100)]
    waiting: dict[str, int] = {}
    waits: dict[str, list[int]] = defaultdict(list)
    for account in accounts:
        rig.open("free", account, cap=1)

    def come() -> None:
        absent = [account for account in accounts if account not in waiting]
        for account in rng.sample(absent, min(len(absent), 2)):
            waiting[account] = len(rig.started)
            rig.submit(account)

    for _ in range(2000):
        rig.run(1, come)
        account = rig.started[-1][1]
        waits[account].append(len(rig.started) - waiting.pop(account))
    late = [len(rig.started) - since for since in waiting.values()]
    assert max(*late, *(wait for each in waits.values() for wait in each)) <= 2 * len(accounts)
    assert waits.keys() == set(accounts)


def test_the_lanes_of_the_rig_empty() -> None:
    """What is submitted is started once, and nothing else."""
    rig = Rig(3)
    make_crowd(rig, random.Random(5), num_jobs=5)  # noqa: S311 -- a repeatable crowd
    rig.run(2000)
    assert len(rig.started) == 22 * 5
    assert all(lane.tickets == deque() for _, lane in rig.lanes.values())
