"""The plan of a chaos run: the seed decides it, and a minute has every fault there is."""

import pytest

from tests.chaos.faults import EVERY_S, MIN_FAULTS, every_fault, plan_faults


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_minute_has_every_fault(database: str) -> None:
    planned = plan_faults(7, 60, database)
    assert len(planned) == MIN_FAULTS
    assert {fault.name for fault in planned} == {fault.name for fault in every_fault(database)}


def test_a_seed_is_a_plan() -> None:
    assert plan_faults(7, 600, "sqlite") == plan_faults(7, 600, "sqlite")
    assert plan_faults(7, 600, "sqlite") != plan_faults(8, 600, "sqlite")


def test_longer_runs_have_more_of_them() -> None:
    assert len(plan_faults(7, 600, "sqlite")) == int(600 / EVERY_S)
