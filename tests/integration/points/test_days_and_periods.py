"""What time does to points: days, billing periods, expiry, and clocks that step back."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from gateway.db.session import Database
from gateway.db.tables import job, lot
from gateway.domain.errors import AlreadyDone
from gateway.domain.points import LotKind
from gateway.points.audit import audit
from gateway.points.holds import settle
from tests.support.clock import ManualClock
from tests.support.ledger import Teller, plans_for_tests, spent_by_kind

SECOND = timedelta(seconds=1)
Opened = tuple[Teller, str, ManualClock]


def at(day: str, zone: str = "Asia/Shanghai") -> datetime:
    """An instant, written as local time in `zone`."""
    return datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.fixture
def opened(database: Database) -> Iterator[Callable[..., Opened]]:
    """A teller whose clock stands at a local time, and an account nobody has looked at."""

    def make(day: str, zone: str = "Asia/Shanghai") -> Opened:
        clock = ManualClock(at(day, zone))
        teller = Teller(database, clock, plans_for_tests(zone))
        return teller, teller.open_account("ada"), clock

    yield make
    with database.read() as connection:
        assert list(audit(connection)) == []


# Days


def test_the_day_begins_at_midnight_in_the_plans_zone(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-11-21T23:59:59")
    teller.submit(ada, 50)
    assert teller.fresh_lots(ada) == [("daily", 10)]
    clock.advance(seconds=1)
    assert teller.fresh_lots(ada) == [("daily", 60)]
    clock.advance(seconds=1)
    assert teller.fresh_lots(ada) == [("daily", 60)]


def test_points_die_at_midnight_whenever_they_were_granted(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-11-21T00:00:00")
    teller.refresh(ada)
    [morning] = teller.balance(ada).lots
    bob = teller.open_account("bob")
    clock.instant = at("2026-11-21T23:59:59")
    teller.refresh(bob)
    [night] = teller.balance(bob).lots
    assert morning.expires_at == night.expires_at == at("2026-11-22T00:00:00")


@pytest.mark.parametrize(
    ("zone", "noon", "hours"),
    [
        ("America/New_York", "2026-03-08T12:00:00", 23),
        ("America/New_York", "2026-11-01T12:00:00", 25),
        ("Africa/Cairo", "2026-04-24T12:00:00", 23),
        ("America/Santiago", "2026-09-06T12:00:00", 23),
        ("Asia/Beirut", "2026-03-29T12:00:00", 23),
        ("Asia/Shanghai", "2026-03-29T12:00:00", 24),
    ],
)
def test_a_day_lasts_as_long_as_its_zone_says(
    opened: Callable[..., Opened], zone: str, noon: str, hours: int
) -> None:
    teller, ada, clock = opened(noon, zone)
    plans = teller.plans
    begins, ends = (
        edge(plans.day_of(clock.now())).astimezone(UTC) for edge in (plans.start_of, plans.end_of)
    )
    assert (ends - begins) == timedelta(hours=hours)
    counts = []
    for instant in (begins - SECOND, begins, ends - SECOND, ends):
        clock.instant = instant
        teller.refresh(ada)
        counts.append(len(daily_keys(teller, ada)))
        [found] = teller.balance(ada).lots
        assert found.available == 60
        assert (found.expires_at == ends) == (begins <= instant < ends)
    assert counts == [1, 2, 2, 3]


def daily_keys(teller: Teller, account_id: str) -> list[str]:
    """Keys of every daily grant the account ever had."""
    with teller.database.read() as connection:
        keys = select(lot.c.grant_key).where(
            lot.c.account_id == account_id, lot.c.kind == LotKind.DAILY
        )
        return list(connection.execute(keys).scalars())


def test_no_day_is_left_out_and_none_comes_twice(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-10-30T12:00:00", "America/New_York")
    for _ in range(5):
        teller.refresh(ada)
        clock.advance(hours=24)
    for _ in range(5):
        teller.refresh(ada)
        clock.advance(hours=-25)
    days = [key.rsplit(":", 1)[1] for key in daily_keys(teller, ada)]
    assert days == [f"2026-10-{day}" for day in (30, 31)] + [
        f"2026-11-{day:02}" for day in (1, 2, 3, 4)
    ]


def test_a_clock_that_steps_back_grants_nothing_again(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-11-21T12:00:00")
    teller.submit(ada, 60)
    clock.advance(hours=-25)
    assert teller.fresh_lots(ada) == []
    clock.advance(hours=25)
    assert teller.fresh_lots(ada) == []
    clock.advance(hours=12)
    assert teller.fresh_lots(ada) == [("daily", 60)]


# Billing periods


def test_periods_are_counted_from_the_day_of_the_purchase(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-01-31T18:30:00")
    teller.change_plan(ada, "plus")
    begins = []
    for _ in range(4):
        found = teller.subscription(ada)
        assert found is not None
        assert teller.fresh_lots(ada) == [("daily", 60), ("plan", 500)]
        begins.append(found.period_ends_at.astimezone(ZoneInfo("Asia/Shanghai")).isoformat())
        clock.instant = found.period_ends_at - SECOND
        assert [each.kind for each in teller.balance(ada).lots].count(LotKind.PLAN) == 1
        clock.instant = found.period_ends_at
        teller.refresh(ada)
    assert begins == [f"2026-{day}T00:00:00+08:00" for day in ("02-28", "03-31", "04-30", "05-31")]


def test_a_gateway_that_was_silent_grants_the_current_period_alone(
    opened: Callable[..., Opened],
) -> None:
    teller, ada, clock = opened("2026-01-31T12:00:00")
    teller.change_plan(ada, "plus")
    teller.submit(ada, 560)
    clock.instant = at("2026-05-10T12:00:00")
    assert teller.fresh_lots(ada) == [("daily", 60), ("plan", 500)]
    found = teller.subscription(ada)
    assert found is not None
    assert found.period == 3
    assert teller.balance(ada).lots[-1].expires_at == at("2026-05-31T00:00:00")


def test_an_upgrade_grants_the_difference_and_keeps_the_end(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-11-05T12:00:00")
    teller.change_plan(ada, "plus")
    teller.submit(ada, 300)
    clock.instant = at("2026-11-20T12:00:00")
    teller.change_plan(ada, "top")
    assert teller.fresh_lots(ada) == [("daily", 60), ("plan", 260), ("plan", 1500)]
    ends = {each.expires_at for each in teller.balance(ada).lots if each.kind is LotKind.PLAN}
    assert ends == {at("2026-12-05T00:00:00")}
    teller.change_plan(ada, "top")
    assert teller.balance(ada).available == 60 + 260 + 1500
    clock.instant = at("2026-12-05T00:00:00")
    assert teller.fresh_lots(ada) == [("daily", 100), ("plan", 2000)]


def test_a_downgrade_waits_for_the_next_period(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-11-05T12:00:00")
    teller.change_plan(ada, "top")
    teller.change_plan(ada, "plus")
    assert teller.refresh(ada).id == "top"
    assert teller.fresh_lots(ada) == [("daily", 60), ("plan", 2000)]
    clock.instant = at("2026-12-05T00:00:00")
    assert teller.refresh(ada).id == "plus"
    assert teller.fresh_lots(ada) == [("daily", 60), ("plan", 500)]


def test_a_downgrade_can_be_taken_back(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-11-05T12:00:00")
    for plan in ("top", "plus", "top"):
        teller.change_plan(ada, plan)
    assert teller.balance(ada).available == 60 + 2000
    clock.instant = at("2026-12-05T00:00:00")
    assert teller.refresh(ada).id == "top"


def test_down_and_up_in_one_period_grants_nothing_twice(opened: Callable[..., Opened]) -> None:
    teller, ada, _ = opened("2026-11-05T12:00:00")
    for plan in ("plus", "top", "plus", "top", "free", "plus", "top"):
        teller.change_plan(ada, plan)
    assert teller.balance(ada).available == 60 + 2000


def test_a_plan_ends_after_its_periods(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-01-31T12:00:00")
    teller.change_plan(ada, "plus", num_periods=2)
    clock.instant = at("2026-03-30T23:59:59")
    assert teller.refresh(ada).id == "plus"
    clock.advance(seconds=1)
    assert teller.refresh(ada).id == "free"
    assert teller.fresh_lots(ada) == [("daily", 60)]


def test_a_purchase_after_the_end_begins_anew(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-11-05T12:00:00")
    teller.change_plan(ada, "plus", num_periods=1)
    clock.instant = at("2026-12-10T12:00:00")
    teller.change_plan(ada, "plus")
    assert teller.fresh_lots(ada) == [("daily", 60), ("plan", 500)]
    found = teller.subscription(ada)
    assert found is not None
    assert found.anchor_on == date(2026, 12, 10)


def test_a_clock_that_steps_back_over_a_period_changes_nothing(
    opened: Callable[..., Opened],
) -> None:
    teller, ada, clock = opened("2026-11-05T12:00:00")
    teller.change_plan(ada, "plus")
    clock.instant = at("2026-12-05T00:00:00")
    teller.submit(ada, 560)
    clock.advance(hours=-25)
    assert teller.fresh_lots(ada) == []
    clock.advance(hours=25)
    assert teller.fresh_lots(ada) == []


# Terms


def test_a_pack_lives_its_days_to_their_end(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-11-05T18:00:00")
    teller.topup(ada, "payment")
    clock.instant = at("2026-12-05T23:59:59")
    assert teller.fresh_lots(ada) == [("daily", 60), ("topup", 100)]
    clock.advance(seconds=1)
    assert teller.fresh_lots(ada) == [("daily", 60)]
    with pytest.raises(AlreadyDone):
        teller.topup(ada, "payment")


def test_lots_are_drawn_in_their_order_and_the_soonest_to_expire_first(
    opened: Callable[..., Opened],
) -> None:
    teller, ada, clock = opened("2026-11-05T12:00:00")
    lose_to_grace(teller, ada, clock, 15)
    teller.topup(ada, "payment")
    teller.give(ada, 30, valid_days=20)
    teller.give(ada, 20, valid_days=2)
    teller.change_plan(ada, "plus")
    kinds = ["grace", "daily", "plan", "bonus", "bonus", "topup"]
    sizes = [15, 60, 500, 20, 30, 100]
    assert teller.fresh_lots(ada) == list(zip(kinds, sizes, strict=True))
    for number in range(len(sizes)):
        teller.submit(ada, sizes[number])
        for ref in teller.claim():
            teller.complete(ref)
        left = list(zip(kinds, sizes, strict=True))[number + 1 :]
        assert teller.fresh_lots(ada) == left


def lose_to_grace(teller: Teller, account_id: str, clock: ManualClock, points: int) -> None:
    """Make `points` of grace: held over midnight, then failed by us."""
    teller.submit(account_id, points)
    [ref] = teller.claim()
    clock.advance(hours=12)
    teller.fail(ref)


# Held points whose lot dies


def test_points_that_die_while_held_are_gone_if_the_client_cancels(
    opened: Callable[..., Opened],
) -> None:
    teller, ada, clock = opened("2026-11-21T23:59:59")
    job_id = teller.submit(ada, 40).job_id
    clock.advance(seconds=1)
    teller.cancel(ada, job_id)
    assert (teller.balance(ada).available, teller.balance(ada).held) == (20, 0)
    assert teller.fresh_lots(ada) == [("daily", 60)]


def test_points_that_die_while_held_come_back_for_a_day_if_we_fail(
    opened: Callable[..., Opened],
) -> None:
    teller, ada, clock = opened("2026-11-21T23:59:59")
    teller.submit(ada, 40)
    [ref] = teller.claim()
    clock.advance(seconds=1)
    teller.fail(ref)
    assert teller.fresh_lots(ada) == [("grace", 40), ("daily", 60)]
    assert teller.balance(ada).lots[0].expires_at == clock.now() + timedelta(hours=24)
    clock.advance(hours=24, seconds=-1)
    assert ("grace", 40) in teller.fresh_lots(ada)
    clock.advance(seconds=1)
    assert teller.fresh_lots(ada) == [("daily", 60)]


def test_points_that_were_good_when_held_pay_for_a_job_that_ends_later(
    opened: Callable[..., Opened],
) -> None:
    teller, ada, clock = opened("2026-11-21T23:59:59")
    teller.submit(ada, 40)
    [ref] = teller.claim()
    clock.advance(seconds=30)
    assert teller.fresh_lots(ada) == [("daily", 60)]
    teller.complete(ref)
    assert teller.spent(ada) == 40
    assert teller.fresh_lots(ada) == [("daily", 60)]


def test_a_refund_before_midnight_goes_back_to_its_lots(opened: Callable[..., Opened]) -> None:
    teller, ada, clock = opened("2026-11-21T23:59:58")
    teller.topup(ada, "payment")
    teller.submit(ada, 100)
    [ref] = teller.claim()
    clock.advance(seconds=1)
    teller.fail(ref)
    assert teller.fresh_lots(ada) == [("daily", 60), ("topup", 100)]


# A charge below the hold, and prices that change


def test_a_charge_below_the_hold_gives_the_rest_back(opened: Callable[..., Opened]) -> None:
    teller, ada, _ = opened("2026-11-21T12:00:00")
    teller.topup(ada, "payment")
    job_id = teller.submit(ada, 100).job_id
    end_open_job(teller, ada, job_id, points=70)
    assert teller.fresh_lots(ada) == [("topup", 90)]
    with teller.database.read() as connection:
        assert spent_by_kind(connection, ada) == {LotKind.DAILY: 60, LotKind.TOPUP: 10}
    assert teller.job(job_id).points_charged == 70


def test_a_charge_above_the_hold_stops_at_the_hold(opened: Callable[..., Opened]) -> None:
    teller, ada, _ = opened("2026-11-21T12:00:00")
    job_id = teller.submit(ada, 40).job_id
    end_open_job(teller, ada, job_id, points=55)
    assert teller.job(job_id).points_charged == 40
    assert (teller.spent(ada), teller.fresh_lots(ada)) == (40, [("daily", 20)])


def test_the_rest_of_a_charge_that_died_meanwhile_is_given_again(
    opened: Callable[..., Opened],
) -> None:
    teller, ada, clock = opened("2026-11-21T23:59:59")
    job_id = teller.submit(ada, 40).job_id
    clock.advance(seconds=1)
    end_open_job(teller, ada, job_id, points=25)
    assert teller.fresh_lots(ada) == [("grace", 15), ("daily", 60)]


def end_open_job(teller: Teller, account_id: str, job_id: str, *, points: int) -> None:
    """What `complete` does, for a renderer that says how much it used."""
    with teller.database.write() as connection:
        connection.execute(update(job).where(job.c.id == job_id).values(state="succeeded"))
        settle(
            connection,
            account_id,
            job_id,
            rules=teller.plans.points,
            now=teller.clock.now(),
            points=points,
        )


def test_an_open_job_keeps_the_price_it_was_accepted_at(opened: Callable[..., Opened]) -> None:
    teller, ada, _ = opened("2026-11-21T12:00:00")
    cheap = teller.submit(ada, 10, key="one")
    dear = teller.submit(ada, 30)
    assert teller.submit(ada, 55, key="one").job_id == cheap.job_id
    for ref in teller.claim(limit=2):
        teller.complete(ref)
    assert teller.job(cheap.job_id).points_charged == 10
    assert teller.job(dear.job_id).points_charged == 30
    assert teller.job(cheap.job_id).price_version != teller.job(dear.job_id).price_version
