"""Claims and rings cost the same however many jobs wait: steps and rows are counted, no seconds."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from gateway.jobs.claim import claim
from gateway.jobs.lane_repair import rebuild_lanes
from gateway.jobs.waiting import list_runnable
from gateway.services import Services
from tests.support.clock import ManualClock
from tests.support.waiting import POOL, Want, add_accounts, add_jobs

READ_ROWS = text(
    "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
)


MANY = pytest.mark.parametrize("num_accounts", [1, 5000], ids=["one flooder", "many accounts"])


@MANY
def test_a_claim_does_no_more_work_however_many_wait(
    services: Services, clock: ManualClock, num_accounts: int
) -> None:
    plans = services.configuration.plans

    def take(connection: Connection) -> None:
        now = clock.now()
        claimed = claim(connection, POOL, "w", limit=1, lease_s=60, plans=plans, now=now)
        assert len(claimed) == 1

    _fill(services, clock, 50, num_accounts=50)
    few = _work_of(services, take)
    _fill(services, clock, 5000, num_accounts=num_accounts)
    assert _work_of(services, take) <= 1.3 * few


@MANY
def test_looking_for_lost_deliveries_does_no_more_work_however_many_wait(
    services: Services, clock: ManualClock, num_accounts: int
) -> None:
    plans, num_rung = services.configuration.plans, 20

    def look(connection: Connection) -> None:
        refs = list_runnable(connection, POOL, plans=plans, limit=num_rung)
        assert len(refs) == num_rung

    _fill(services, clock, 50, num_accounts=50)
    few = _work_of(services, look)
    _fill(services, clock, 5000, num_accounts=num_accounts)
    assert _work_of(services, look) <= 1.3 * few


def _fill(services: Services, clock: ManualClock, num_jobs: int, *, num_accounts: int) -> None:
    """Let that many more jobs wait."""
    plans, now = services.configuration.plans, clock.now()
    names = [f"acc_{num_jobs}_{number}" for number in range(num_accounts)]
    with services.database.write() as connection:
        add_accounts(connection, dict.fromkeys(names, "top"), now=now)
        wants = [Want(names[number % num_accounts]) for number in range(num_jobs)]
        add_jobs(connection, wants, now=now)
        rebuild_lanes(connection, plans)
        # PostgreSQL would find out by itself within a minute.
        connection.execute(text("ANALYZE"))


def _work_of(services: Services, action: Callable[[Connection], None]) -> int:
    """Hundreds of steps of SQLite's machine, or rows that PostgreSQL read."""
    num_steps = 0

    def step() -> int:
        nonlocal num_steps
        num_steps += 1
        return 0

    with services.database.write() as connection:
        if not services.database.is_sqlite:
            before = int(connection.execute(READ_ROWS).scalar_one())
            action(connection)
            return int(connection.execute(READ_ROWS).scalar_one()) - before
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(step, 100)
        action(connection)
        driver.set_progress_handler(None, 0)
    return num_steps
