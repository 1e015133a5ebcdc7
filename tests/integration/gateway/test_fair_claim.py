"""The claim in the database: caps, cancels, requeues, and lanes that are put right."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Connection, delete, func, select, update

from gateway.db.tables import account, account_lane, attempt, job, tier_lane
from gateway.domain.jobs import JobState
from gateway.domain.plans import Plans
from gateway.housekeeping import repair_stray_lanes
from gateway.jobs import lifecycle
from gateway.jobs.claim import claim
from gateway.jobs.lane_repair import list_strays, rebuild_lanes
from gateway.jobs.waiting import list_runnable
from gateway.services import Services
from tests.support.accounts import set_plan
from tests.support.clock import ManualClock
from tests.support.waiting import (
    POOL,
    Want,
    add_accounts,
    add_job,
    add_jobs,
    completion,
    with_caps,
)

POOLS = (POOL, "other")
TIERS = ("free", "plus", "top")


@pytest.fixture
def plans(services: Services) -> Plans:
    """Weights 1, 3 and 8, and caps that are met."""
    return with_caps(services.configuration.plans, free=1, plus=2, top=3)


@pytest.fixture
def take(services: Services, plans: Plans, clock: ManualClock) -> Callable[..., list[str]]:
    """Claims in a transaction of its own."""

    def take(room: int = 1, *, worker: str = "w", pool: str = POOL) -> list[str]:
        with services.database.write() as connection:
            return claim(
                connection,
                pool,
                worker,
                limit=room,
                lease_s=60,
                plans=plans,
                now=clock.now(),
            )

    return take


def finish(connection: Connection, job_id: str, plans: Plans, clock: ManualClock) -> None:
    """The running job is done, after a second."""
    request = completion(1, 1.0)
    lifecycle.complete(
        connection, job_id, request, keep_for=timedelta(1), plans=plans, now=clock.now()
    )


def test_claims_side_by_side_keep_the_caps_and_share_no_job(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    owners = {f"acc_{number}": TIERS[number % 3] for number in range(9)}
    with services.database.write() as connection:
        add_accounts(connection, owners, now=clock.now())
        ids = add_jobs(
            connection,
            [Want(each, pool=pool) for each in owners for pool in POOLS for _ in "123"],
            now=clock.now(),
        )
        rebuild_lanes(connection, plans)

    def work(worker: str, *, ends: bool) -> list[str]:
        mine: list[str] = []
        misses = 0
        # An account that another claim holds is passed over, so a miss is no proof.
        while misses < 4:
            claimed = take(2, worker=worker, pool=POOLS[int(worker[1:]) % 2])
            misses = 0 if claimed else misses + 1
            mine += claimed
            for job_id in claimed if ends else []:
                with services.database.write() as connection:
                    finish(connection, job_id, plans, clock)
        return mine

    with ThreadPoolExecutor(6) as threads:
        claimed = [
            each
            for mine in threads.map(lambda n: work(f"w{n}", ends=False), range(6))
            for each in mine
        ]
    with services.database.read() as connection:
        query = select(job.c.account_id, func.count()).where(job.c.state == JobState.RUNNING)
        running = {row[0]: row[1] for row in connection.execute(query.group_by(job.c.account_id))}
    assert running == {each: plans.get(plan).max_running for each, plan in owners.items()}
    assert sorted(claimed) == sorted(set(claimed))

    def end(job_id: str) -> None:
        with services.database.write() as connection:
            finish(connection, job_id, plans, clock)

    with ThreadPoolExecutor(6) as threads:
        ends = [threads.submit(end, job_id) for job_id in claimed]
        rest = [
            each
            for mine in threads.map(lambda n: work(f"w{n}", ends=True), range(4))
            for each in mine
        ]
        for each in ends:
            each.result()
    rest += work("w0", ends=True) + work("w1", ends=True)
    assert sorted([*claimed, *rest]) == ids
    with services.database.read() as connection:
        rows = connection.execute(select(attempt.c.attempt, attempt.c.outcome)).all()
        assert list_strays(connection, plans) == []
    assert [tuple(row) for row in rows] == [(1, "succeeded")] * len(ids)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_claim_that_is_under_way_elsewhere_counts(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    """Claims of two pools do not wait for each other, but see one account one at a time."""
    with services.database.write() as connection:
        add_accounts(connection, {"acc_a": "free", "acc_b": "free"}, now=clock.now())
        wants = [Want("acc_a", pool=pool) for pool in POOLS] + [Want("acc_b", pool="other")]
        for want in wants:
            add_job(connection, want, plans=plans, now=clock.now())
    with services.database.write() as connection:
        claimed = claim(connection, POOL, "w0", limit=1, lease_s=60, plans=plans, now=clock.now())
        assert len(claimed) == 1
        [other] = take(worker="w1", pool="other")
        assert other not in claimed
        assert take(worker="w1", pool="other") == []
    assert take(worker="w1", pool="other") == []
    with services.database.write() as connection:
        finish(connection, claimed[0], plans, clock)
    assert len(take(worker="w1", pool="other")) == 1


def test_an_account_at_its_cap_stands_aside_and_comes_back(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    with services.database.write() as connection:
        add_accounts(connection, {"acc_a": "free", "acc_b": "free"}, now=clock.now())
        first = [add_job(connection, Want("acc_a"), plans=plans, now=clock.now()) for _ in "123"]
        other = add_job(connection, Want("acc_b"), plans=plans, now=clock.now())
    assert take() == first[:1]
    assert take() == [other]
    assert take() == []
    with services.database.write() as connection:
        finish(connection, first[0], plans, clock)
    assert take() == first[1:2]


def test_a_job_that_came_while_its_account_was_full_elsewhere_is_not_forgotten(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    with services.database.write() as connection:
        add_accounts(connection, {"acc_a": "free"}, now=clock.now())
        first = add_job(connection, Want("acc_a"), plans=plans, now=clock.now())
    assert take() == [first]
    with services.database.write() as connection:
        second = add_job(connection, Want("acc_a", pool="other"), plans=plans, now=clock.now())
    assert take(pool="other") == []
    with services.database.write() as connection:
        finish(connection, first, plans, clock)
    assert take(pool="other") == [second]


def test_a_canceled_head_gives_way_and_the_last_one_empties_the_lane(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    with services.database.write() as connection:
        add_accounts(connection, {"acc_a": "top"}, now=clock.now())
        ids = [add_job(connection, Want("acc_a"), plans=plans, now=clock.now()) for _ in "123"]

    def cancel(job_id: str) -> None:
        with services.database.write() as connection:
            lifecycle.cancel(connection, "acc_a", job_id, plans=plans, now=clock.now())

    cancel(ids[0])
    assert take() == [ids[1]]
    cancel(ids[2])
    assert take() == []
    with services.database.read() as connection:
        assert not connection.execute(select(account_lane.c.is_waiting)).scalar_one()


def test_a_requeued_job_goes_first_in_its_account(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    with services.database.write() as connection:
        add_accounts(connection, {"acc_a": "free"}, now=clock.now())
        ids = [add_job(connection, Want("acc_a"), plans=plans, now=clock.now()) for _ in "12"]
    assert take() == ids[:1]
    with services.database.write() as connection:
        lifecycle.take_back(connection, ids[0], plans=plans, now=clock.now())
    assert take() == ids[:1]
    with services.database.read() as connection:
        lane = connection.execute(select(account_lane)).one()
        charged = connection.execute(select(attempt.c.charged_s)).scalars().all()
    assert lane.pass_s == charged[0] == charged[1]


def test_lanes_are_made_anew_from_the_jobs(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    owners = {f"acc_{number}": TIERS[number % 3] for number in range(6)}
    with services.database.write() as connection:
        add_accounts(connection, owners, now=clock.now())
        ids = [add_job(connection, Want(each), plans=plans, now=clock.now()) for each in owners]
    served = take()
    with services.database.write() as connection:
        connection.execute(delete(account_lane))
        connection.execute(delete(tier_lane))
    assert take() == []
    with services.database.write() as connection:
        # The served account has nothing left that waits.
        assert rebuild_lanes(connection, plans) == 5
        assert rebuild_lanes(connection, plans) == 0
    while claimed := take():
        served += claimed
    assert sorted(served) == ids


def test_a_lane_without_a_job_is_put_right_on_the_way(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    with services.database.write() as connection:
        add_accounts(connection, {"acc_a": "free", "acc_b": "free"}, now=clock.now())
        gone = add_job(connection, Want("acc_a"), plans=plans, now=clock.now())
        left = add_job(connection, Want("acc_b"), plans=plans, now=clock.now())
        connection.execute(update(job).where(job.c.id == gone).values(state=JobState.CANCELED))
    assert take() == [left]
    with services.database.read() as connection:
        rows = connection.execute(select(account_lane.c.is_waiting)).scalars().all()
    assert rows == [False, False]


def test_a_waiting_account_moves_with_its_plan(
    services: Services, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    plans = services.configuration.plans
    with services.database.write() as connection:
        add_accounts(connection, {"acc_a": "free", "acc_b": "free"}, now=clock.now())
        ids = [
            add_job(connection, Want(each), plans=plans, now=clock.now())
            for each in ("acc_a", "acc_b")
        ]
    set_plan(services, "acc_b", "top")
    assert repair_stray_lanes(services) == 1
    assert repair_stray_lanes(services) == 0
    with services.database.read() as connection:
        query = select(account_lane.c.tier).order_by(account_lane.c.account_id)
        assert connection.execute(query).scalars().all() == ["free", "top"]
        assert connection.execute(select(account.c.plan).where(account.c.id == "acc_b")).scalar()
    assert sorted([*take(), *take()]) == ids


def test_a_lane_of_an_old_tier_is_not_served_at_its_weight(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    with services.database.write() as connection:
        add_accounts(connection, {"acc_a": "top"}, now=clock.now())
        [job_id] = [add_job(connection, Want("acc_a"), plans=plans, now=clock.now())]
        connection.execute(update(account).values(plan="free"))
    assert take() == [job_id]
    with services.database.read() as connection:
        passes = {row.tier: row.pass_s for row in connection.execute(select(tier_lane))}
    assert passes["free"] > passes["top"] == 0


def test_nobody_is_rung_for_an_account_at_its_cap(
    services: Services, plans: Plans, clock: ManualClock, take: Callable[..., list[str]]
) -> None:
    """Else idle workers would ask each second, for jobs that nobody may have."""

    def runnable(limit: int = 100) -> list[str]:
        with services.database.read() as connection:
            refs = list_runnable(connection, POOL, plans=plans, limit=limit)
        return [ref.job_id for ref in refs]

    with services.database.write() as connection:
        add_accounts(connection, {"full": "plus", "quiet": "free"}, now=clock.now())
        mine = [add_job(connection, Want("full"), plans=plans, now=clock.now()) for _ in "12345"]
    assert runnable() == mine[:2], "as many as the plan runs at once"
    assert runnable(limit=1) == mine[:1]
    assert take() + take() == mine[:2]
    assert runnable() == []
    with services.database.write() as connection:
        theirs = add_job(connection, Want("quiet"), plans=plans, now=clock.now())
    assert runnable() == [theirs]
    with services.database.write() as connection:
        finish(connection, mine[0], plans, clock)
    assert runnable() == [theirs, *mine[2:4]]
