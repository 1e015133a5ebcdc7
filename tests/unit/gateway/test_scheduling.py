"""The rule of the fair queue: what it promises holds for any queue."""

import random
from collections import Counter, defaultdict, deque
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.scheduling import (
    LOOKAHEAD,
    Lane,
    Pool,
    Ticket,
    Tier,
    charge,
    correct,
    drop,
    pick,
    serve,
    wake,
)
from models.spec import BatchKey

WEIGHTS = {"free": 1, "plus": 3, "top": 8}
NO_CAP = 10**9
_numbers = count()


def key(model: str = "m", *, steps: int = 10) -> BatchKey:
    """A batch key."""
    return ("text_to_video", model, "64x64", 17, steps, 3.0, 8, "standard")


def tickets(num: int, *, cost_s: float = 10.0, model: str = "m") -> deque[Ticket]:
    """Equal jobs."""
    return deque(Ticket(f"job_{next(_numbers):06}", key(model), cost_s) for _ in range(num))


def pool_of(*tiers: str) -> Pool:
    """A pool of these tiers, without lanes."""
    return Pool({tier: Tier(tier, WEIGHTS[tier]) for tier in tiers or WEIGHTS})


def enter(pool: Pool, tier: str, account: str, jobs: deque[Ticket], *, room: int = NO_CAP) -> Lane:
    """An account that begins to wait."""
    lane = Lane(account, room, jobs)
    wake(pool, pool.tiers[tier], lane)
    return lane


def run(pool: Pool, num: int, *, swap_s: float = 0.0) -> list[tuple[str, str, Ticket]]:
    """Serve `num` jobs to one worker that keeps its model: tier, account and job of each."""
    served = []
    model = None
    for _ in range(num):
        picks = serve(pool, room=1, loaded_model=model, swap_s=swap_s)
        if not picks:
            break
        model = picks[0].ticket.model
        served.append((picks[0].tier.id, picks[0].lane.account_id, picks[0].ticket))
    return served


def test_weights_are_shares_within_one_job() -> None:
    pool = pool_of()
    for tier in WEIGHTS:
        enter(pool, tier, f"{tier}-account", tickets(1200))
    served = [tier for tier, _, _ in run(pool, 1200)]
    for upto in range(12, 1200, 12):
        counts = Counter(served[:upto])
        for tier, weight in WEIGHTS.items():
            assert abs(counts[tier] - weight * upto / 12) <= 1


@given(
    st.lists(st.tuples(st.sampled_from(sorted(WEIGHTS)), st.floats(1, 100)), min_size=2),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_device_seconds_are_shared_by_weight_within_the_dearest_job(
    accounts: list[tuple[str, float]], seed: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 -- a repeatable queue
    pool = pool_of()
    dearest = 0.0
    for number, (tier, most) in enumerate(accounts):
        costs = [rng.uniform(0.5, most) for _ in range(200)]
        dearest = max(dearest, *costs)
        jobs = deque(Ticket(f"j{number}-{i}", key(), cost) for i, cost in enumerate(costs))
        enter(pool, tier, f"a{number}", jobs)
    taken: dict[str, float] = defaultdict(float)
    lanes: dict[str, float] = defaultdict(float)
    for tier, account, ticket in run(pool, 150):
        taken[tier] += ticket.cost_s
        lanes[account] += ticket.cost_s
        shares = [taken[each.id] / each.weight for each in pool.waiting]
        assert max(shares) - min(shares) <= dearest + 1e-6
        for each in pool.waiting:
            mine = [lanes[lane.account_id] for lane in each.lanes]
            assert max(mine) - min(mine) <= dearest + 1e-6


@given(st.integers(0, 250), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_a_flood_delays_a_quiet_account_by_at_most_one_job(before: int, num_quiet: int) -> None:
    pool = pool_of()
    enter(pool, "free", "flooder", tickets(300))
    enter(pool, "top", "busy", tickets(600))
    run(pool, before)
    for number in range(num_quiet):
        enter(pool, "free", f"quiet-{number}", tickets(1))
    free = [account for tier, account, _ in run(pool, 300) if tier == "free"]
    waited = free[: free.index(f"quiet-{num_quiet - 1}")]
    assert waited.count("flooder") <= 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(WEIGHTS)),
            st.lists(st.tuples(st.floats(0.5, 60), st.sampled_from("abc")), max_size=12),
            st.integers(1, 3),
        ),
        max_size=30,
    ),
    st.floats(0, 90),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
@settings(max_examples=120, deadline=None)
def test_nothing_idles_starves_or_breaks_a_cap(
    accounts: list[tuple[str, list[tuple[float, str]], int]], swap_s: float, room: int, seed: int
) -> None:
    """Random claims and ends: whoever may run is served, nobody gets far ahead, all is served."""
    rng = random.Random(seed)  # noqa: S311 -- a repeatable queue
    pool = pool_of()
    lanes: dict[str, tuple[Tier, Lane]] = {}
    dearest, left = 0.0, 0
    for number, (tier_id, jobs, cap) in enumerate(accounts):
        line = deque(
            Ticket(f"j{number}-{i}", key(model), cost) for i, (cost, model) in enumerate(jobs)
        )
        lanes[f"a{number}"] = (pool.tiers[tier_id], Lane(f"a{number}", cap, line))
        if line:
            wake(pool, *lanes[f"a{number}"])
            dearest = max(dearest, *(cost for cost, _ in jobs))
            left += len(line)
    caps = {f"a{number}": cap for number, (_, _, cap) in enumerate(accounts)}
    running: list[str] = []
    slack_s = max(swap_s, dearest) + dearest + 1e-6
    while left:
        could = any(lane.is_waiting for _, lane in lanes.values())
        picks = serve(pool, room=room, loaded_model=rng.choice([None, *"abc"]), swap_s=swap_s)
        assert bool(picks) == could
        assert len({each.ticket.batch_key for each in picks}) <= 1
        left -= len(picks)
        running += [each.lane.account_id for each in picks]
        assert all(num <= caps[account] for account, num in Counter(running).items())
        for tier in pool.waiting:
            assert (tier.pass_s - pool.virtual_time_s) * tier.weight <= slack_s
            assert all(lane.pass_s - tier.virtual_time_s <= slack_s for lane in tier.lanes)
        if running and (not picks or rng.random() < 0.5):
            tier, lane = lanes[running.pop(rng.randrange(len(running)))]
            was_waiting = lane.is_waiting
            lane.room += 1
            if lane.is_waiting and not was_waiting:
                wake(pool, tier, lane)


def test_idleness_earns_no_hoard() -> None:
    pool = pool_of("free", "top")
    enter(pool, "free", "steady", tickets(400))
    late = enter(pool, "free", "late", tickets(1))
    run(pool, 200)
    late.tickets.extend(tickets(200))
    wake(pool, pool.tiers["free"], late)
    enter(pool, "top", "top-account", tickets(400))
    served = run(pool, 90)
    accounts = Counter(account for _, account, _ in served)
    assert abs(accounts["late"] - accounts["steady"]) <= 1
    assert abs(accounts["top-account"] - 80) <= 1


def test_an_empty_level_remembers_its_time() -> None:
    """Who comes while nobody waits begins where the others stopped, not where they began."""
    pool = pool_of("free", "top")
    first = enter(pool, "free", "first", tickets(50))
    run(pool, 50)
    enter(pool, "free", "second", tickets(100))
    first.tickets.extend(tickets(100))
    wake(pool, pool.tiers["free"], first)
    accounts = Counter(account for _, account, _ in run(pool, 40))
    assert abs(accounts["first"] - accounts["second"]) <= 1
    run(pool, 200)
    enter(pool, "top", "third", tickets(100))
    enter(pool, "free", "fourth", tickets(100))
    tiers = Counter(tier for tier, _, _ in run(pool, 90))
    assert abs(tiers["top"] - 80) <= 1


def test_time_at_the_cap_earns_no_hoard_and_stalls_nobody() -> None:
    pool = pool_of("free")
    capped = enter(pool, "free", "capped", tickets(100), room=1)
    enter(pool, "free", "other", tickets(400))
    served = [account for _, account, _ in run(pool, 100)]
    assert served.count("capped") == 1
    capped.room = NO_CAP
    wake(pool, pool.tiers["free"], capped)
    accounts = Counter(account for _, account, _ in run(pool, 50))
    assert abs(accounts["capped"] - accounts["other"]) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_swaps_stay_near_the_least_that_fairness_allows(seed: int) -> None:
    """Accounts of one model each: no order whose lanes stay this close together swaps much less.

    A visit of a model can lift its lanes from `bound_s` behind the others to `bound_s` ahead.
    """
    rng = random.Random(seed)  # noqa: S311 -- a repeatable queue
    pool, cost_s, swap_s, num_jobs = pool_of("free"), 10.0, 60.0, 40
    accounts = [f"a{number:02}" for number in range(12)]
    rng.shuffle(accounts)
    for number, account in enumerate(accounts):
        enter(pool, "free", account, tickets(num_jobs, cost_s=cost_s, model="abc"[number % 3]))
    served = run(pool, len(accounts) * num_jobs, swap_s=swap_s)
    models = [ticket.model for _, _, ticket in served]
    loads = 1 + sum(one != two for one, two in pairwise(models))
    bound_s = swap_s + cost_s
    least = 3 * -(-num_jobs * cost_s // (2 * bound_s))
    assert len(served) == len(accounts) * num_jobs
    assert loads <= 2 * least


def test_affinity_never_costs_more_than_one_swap_time() -> None:
    pool = pool_of("free")
    enter(pool, "free", "loaded", tickets(100, model="a"))
    enter(pool, "free", "other", tickets(1, model="b"))
    served = [account for _, account, _ in run(pool, 20, swap_s=50)]
    assert served.index("other") == 6


def test_a_batch_is_of_one_key_and_paid_by_all_its_lanes() -> None:
    pool = pool_of("free")
    first = enter(pool, "free", "a", deque([Ticket("1", key(), 10), Ticket("2", key(steps=5), 5)]))
    second = enter(pool, "free", "b", deque([Ticket("3", key(), 10), Ticket("4", key(), 10)]))
    picks = serve(pool, room=4)
    assert [each.ticket.job_id for each in picks] == ["1", "3", "4"]
    assert (first.pass_s, second.pass_s, pool.tiers["free"].pass_s) == (10, 20, 30)
    second.tickets.extend(tickets(3))
    wake(pool, pool.tiers["free"], second)
    assert [each.ticket.job_id for each in serve(pool, room=4)] == ["2"]
    assert len(serve(pool, room=4, batch_room=lambda _: 2)) == 2


def test_a_batch_takes_nobody_far_ahead() -> None:
    """A flood of one key cannot run away with every free place of a batch."""
    pool = pool_of("free", "top")
    enter(pool, "top", "busy", tickets(200))
    enter(pool, "free", "flooder", tickets(400))
    quiet = deque([Ticket("quiet", key(steps=5), 10)])
    for _ in range(20):
        serve(pool, room=4)
    enter(pool, "free", "quiet", quiet)
    claims = 0
    while quiet:
        claims += 1
        serve(pool, room=4)
    assert claims <= 8


def test_what_was_charged_is_corrected() -> None:
    pool = pool_of("free", "top")
    dear = enter(pool, "free", "dear", tickets(50, cost_s=10))
    enter(pool, "free", "cheap", tickets(50, cost_s=10))
    for _ in range(40):
        chosen = pick(pool)
        assert chosen is not None
        charge(pool, chosen)
        correct(chosen.tier, chosen.lane, 20 if chosen.lane is dear else 0)
    assert dear.pass_s == pytest.approx(300, abs=30)
    assert pool.tiers["free"].pass_s == 600


def test_a_pick_looks_at_few_lanes() -> None:
    pool = pool_of("free")
    for number in range(LOOKAHEAD + 1):
        model = "b" if number == LOOKAHEAD else "a"
        enter(pool, "free", f"a{number:03}", tickets(1, model=model))
    chosen = pick(pool, loaded_model="b", swap_s=10**6)
    assert chosen is not None
    assert chosen.ticket.model == "a"


def test_a_lane_that_does_not_admit_is_passed_over() -> None:
    pool = pool_of("free")
    enter(pool, "free", "a", tickets(1))
    enter(pool, "free", "b", tickets(1))
    picks = serve(pool, room=2, admit=lambda _tier, lane: lane.account_id != "a")
    assert [each.lane.account_id for each in picks] == ["b"]
    drop(pool.tiers["free"], Lane("a", 1))
    assert serve(pool, room=1) == []
