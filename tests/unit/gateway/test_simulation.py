"""Replayed requests: a small trace by hand, and what holds for every trace."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli.config import read_files
from gateway.domain.plans import Plans, load_plans
from gateway.domain.points import Fault
from gateway.domain.simulation import Devices, PlanResult, percentile, simulate
from gateway.domain.trace import COLUMNS, Outcome, Request, TraceError, parse_trace, synthetic_trace
from gateway.domain.wallet import Wallet

ROOT = Path(__file__).parents[3]
FILES = read_files(ROOT / "configs")
TEST_PLANS = load_plans(ROOT / "tests" / "support" / "plans.yaml")
NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
COST = 10


def request(after_s: float = 0, **changes: Any) -> Request:
    """A free account's cheapest video, `after_s` seconds from noon in Shanghai."""
    fields: dict[str, Any] = {
        "at": NOON + timedelta(seconds=after_s),
        "account": "ada",
        "plan": "free",
        "model": "reel-tiny",
        "kind": "text_to_video",
        "mode": "standard",
        "size": "64x64",
        "seconds": 2,
        "fps": 8,
        "outcome": "ok",
    }
    return Request(**(fields | changes))


def replay(
    requests: list[Request], plans: Plans = TEST_PLANS, **devices: float
) -> dict[str, PlanResult]:
    """The result under the shipped prices."""
    return simulate(
        requests,
        catalog=FILES.catalog,
        plans=plans,
        prices=FILES.prices,
        devices=Devices(**devices),  # type: ignore[arg-type]  # one of them is whole
    )


def limited(**limits: Any) -> Plans:
    """The plans of the tests with another free plan."""
    free = TEST_PLANS.default.model_copy(update=limits)
    return TEST_PLANS.model_copy(update={"plans": [free, *TEST_PLANS.plans[1:]]})


def test_a_small_trace() -> None:
    trace = [
        request(),
        request(1, outcome="failed"),
        request(2, outcome="canceled"),
        *(request(3 + number) for number in range(5)),
        request(20),
        request(21, fps=25),
        request(22, model="other"),
        request(86_400),
        request(30, account="bob", plan="plus", mode="pro"),
    ]
    result = replay(sorted(trace, key=lambda each: each.at), seconds_per_job=10)
    assert result["free"] == PlanResult(
        requests=12,
        accepted=8,
        # The day's 60 points pay six jobs; what the failed one gave back at 20 s pays a seventh.
        refused={
            "insufficient_points": 2,
            "invalid_parameter": 1,
            "model_not_found": 1,
        },
        points_burnt=60,
        points_refunded=20,
        unmet_points=20,
        wait_p50_s=17,
        wait_p90_s=35,
    )
    assert result["plus"].points_burnt == 20
    assert list(result) == ["free", "plus"]


@pytest.mark.parametrize(
    ("limits", "num_sent", "accepted", "refused"),
    [
        ({"daily_points": 25}, 3, 2, {"insufficient_points": 1}),
        ({"max_jobs_per_day": 2}, 3, 2, {"daily_limit": 1}),
        ({"max_running": 1, "max_queued": 1}, 4, 2, {"too_many_jobs": 2}),
        ({"max_seconds": 1}, 2, 0, {"plan_limit": 2}),
        ({"modes": ["pro"]}, 2, 0, {"plan_limit": 2}),
    ],
)
def test_what_a_plan_refuses(
    limits: dict[str, Any], num_sent: int, accepted: int, refused: dict[str, int]
) -> None:
    trace = [request(number) for number in range(num_sent)]
    result = replay(trace, limited(**limits), seconds_per_job=100)["free"]
    assert (result.accepted, result.refused) == (accepted, refused)
    assert result.unmet_points == COST * sum(refused.values())
    assert result.points_burnt == COST * accepted


def test_points_die_with_the_day_and_come_with_the_next() -> None:
    plans = limited(daily_points=10)
    until_midnight = 12 * 3600
    trace = [request(), request(until_midnight - 1), request(until_midnight)]
    result = replay(trace, plans)["free"]
    assert (result.accepted, result.points_burnt) == (2, 20)


def test_points_of_a_period_come_every_month_from_the_purchase() -> None:
    day = 86_400
    paying = {"plan": "plus", "account": "bob"}
    [plus] = [plan for plan in TEST_PLANS.plans if plan.id == "plus"]
    poor = plus.model_copy(update={"daily_points": 0, "period_points": 10})
    plans = TEST_PLANS.model_copy(update={"plans": [TEST_PLANS.default, poor]})
    trace = [request(after * day, **paying) for after in (0, 1, 29, 30, 31)]
    result = replay(trace, plans)["plus"]
    assert (result.accepted, result.refused) == (2, {"insufficient_points": 3})


def test_what_our_failure_takes_past_midnight_comes_back_and_a_cancellation_does_not() -> None:
    late = 12 * 3600 - 1
    for outcome, refunded in (("failed", COST), ("canceled", 0)):
        blocker = request(late, account="bob")
        result = replay([blocker, request(late, outcome=outcome)], seconds_per_job=10)["free"]
        assert result.points_refunded == refunded


def test_waits_are_those_of_the_line() -> None:
    trace = [request(account=str(number)) for number in range(5)]
    assert replay(trace, seconds_per_job=10)["free"].wait_p90_s == 40
    assert replay(trace, seconds_per_job=10, num_workers=2)["free"].wait_p90_s == 20
    assert replay(trace, seconds_per_job=10, num_workers=5)["free"].wait_p90_s == 0


def test_an_account_runs_no_more_at_once_than_its_plan_allows() -> None:
    trace = [*(request() for _ in range(3)), request(account="bob")]
    plans = limited(max_running=1)
    result = replay(trace, plans, seconds_per_job=10, num_workers=4)["free"]
    assert (result.wait_p50_s, result.wait_p90_s) == (0, 20)


def test_a_change_of_plan_strands_no_job() -> None:
    trace = [
        *(request(number) for number in range(4)),
        request(5, plan="top"),
        request(6),
        *(request(7 + number, plan="top") for number in range(3)),
    ]
    plans = limited(max_running=1, max_queued=9)
    results = replay(trace, plans, seconds_per_job=100, num_workers=3)
    accepted = sum(result.accepted for result in results.values())
    assert sum(result.points_burnt for result in results.values()) == COST * accepted == 90


def test_a_wallet_draws_what_dies_first() -> None:
    wallet = Wallet(TEST_PLANS)
    plus = TEST_PLANS.get("plus")
    wallet.refresh(plus, NOON)
    parts = wallet.hold(70, NOON)
    assert parts is not None
    assert [points for _, points in parts] == [60, 10]
    assert wallet.hold(491, NOON) is None
    tomorrow = NOON + timedelta(days=1)
    assert wallet.give_back(parts, Fault.CLIENTS, tomorrow) == 10
    wallet.refresh(plus, tomorrow)
    assert wallet.hold(561, tomorrow) is None
    assert wallet.hold(560, tomorrow) is not None


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (90, 4), (25, 1), (100, 4)])
def test_percentiles_are_values_that_were_seen(percent: int, expected: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == expected
    assert percentile([], percent) is None


requests = st.builds(
    request,
    after_s=st.integers(0, 3 * 86_400),
    account=st.sampled_from("abc"),
    plan=st.sampled_from(["free", "plus", "top", "gone"]),
    mode=st.sampled_from(["standard", "pro", "ultra"]),
    model=st.sampled_from(["reel-tiny", "reel-tiny", "other"]),
    outcome=st.sampled_from(Outcome),
)


@settings(max_examples=60, deadline=None)
@given(
    trace=st.lists(requests, max_size=40),
    plans=st.builds(
        limited,
        daily_points=st.sampled_from([0, 25, 60]),
        max_running=st.integers(1, 3),
        max_queued=st.integers(1, 3),
        max_jobs_per_day=st.sampled_from([None, 2]),
    ),
    num_workers=st.integers(1, 3),
    seconds_per_job=st.sampled_from([0, 30, 50_000]),
)
def test_every_point_has_a_request(
    trace: list[Request], plans: Plans, num_workers: int, seconds_per_job: int
) -> None:
    """Burnt is the sum of the prices of what was accepted and went well; refusals cost nothing."""
    trace.sort(key=lambda each: each.at)
    results = replay(trace, plans, num_workers=num_workers, seconds_per_job=seconds_per_job)
    prices = {"standard": 10, "pro": 20}
    sent = Counter(each.plan for each in trace)
    for plan, result in results.items():
        own = [each for each in trace if each.plan == plan]
        assert result.requests == sent[plan] == result.accepted + sum(result.refused.values())
        priced = sum(prices.get(each.mode, 0) for each in own if each.model == "reel-tiny")
        going_well = sum(
            prices.get(each.mode, 0)
            for each in own
            if each.model == "reel-tiny" and each.outcome is Outcome.OK
        )
        assert result.points_burnt + result.points_refunded + result.unmet_points <= priced
        assert result.points_burnt <= going_well
        if not result.refused:
            assert result.points_burnt == going_well
        if result.accepted == 0:
            assert (result.points_burnt, result.points_refunded) == (0, 0)
    only_ok = all(each.outcome is Outcome.OK for each in trace)
    if only_ok:
        assert sum(each.points_refunded for each in results.values()) == 0


@settings(max_examples=60, deadline=None)
@given(trace=st.lists(requests, max_size=40))
def test_accepted_and_refused_share_the_whole_price(trace: list[Request]) -> None:
    """With every outcome ok, each priced request is either burnt or unmet, never both."""
    well = [each.model_copy(update={"outcome": Outcome.OK}) for each in trace]
    well.sort(key=lambda each: each.at)
    prices = {"standard": 10, "pro": 20}
    priced = sum(prices.get(each.mode, 0) for each in well if each.model == "reel-tiny")
    results = replay(well).values()
    assert sum(each.points_burnt + each.unmet_points for each in results) == priced


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 200))
def test_a_seed_gives_the_same_requests(seed: int, size: int) -> None:
    first = synthetic_trace(size, seed, catalog=FILES.catalog, plans=FILES.plans)
    again = synthetic_trace(size, seed, catalog=FILES.catalog, plans=FILES.plans)
    assert first == again
    assert len(first) == size
    assert replay(first, FILES.plans) == replay(again, FILES.plans)


def test_most_made_up_accounts_are_free() -> None:
    trace = synthetic_trace(2000, 7, catalog=FILES.catalog, plans=FILES.plans)
    accounts = {each.account: each.plan for each in trace}
    assert Counter(accounts.values())["free"] > len(accounts) * 0.6
    assert trace != synthetic_trace(2000, 8, catalog=FILES.catalog, plans=FILES.plans)


ROW = "2026-11-21T12:00:00+08:00,ada,free,reel-tiny,text_to_video,standard,64x64,2,8,ok"


def test_a_trace_is_read_in_the_order_of_its_instants() -> None:
    later = ROW.replace("12:00", "13:00")
    assert parse_trace([",".join(COLUMNS), later, ROW], "t.csv") == [request(), request(3600)]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "t.csv:1: at, account"),
        (["at,account", "x"], "t.csv:1: plan, model"),
        ([",".join(COLUMNS), ROW, ROW.replace("+08:00", "")], "t.csv:3: at: "),
        ([",".join(COLUMNS), ROW.replace(",2,", ",2.5,")], "t.csv:2: seconds: "),
        ([",".join(COLUMNS), ROW.replace("text_to", "to")], "t.csv:2: kind: "),
        ([",".join(COLUMNS), ROW.replace(",ok", "")], "t.csv:2: outcome: "),
        ([",".join(COLUMNS), f"{ROW},more"], "t.csv:2: "),
        ([f"{','.join(COLUMNS)},note", f"{ROW},x"], "t.csv:2: note: no such column"),
    ],
)
def test_a_bad_row_is_named_by_its_line(lines: list[str], says: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse_trace(lines, "t.csv")
    assert caught.value.problems[0].startswith(says)
