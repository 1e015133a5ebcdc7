"""Dead children come back, slower while they keep dying; time is handed in."""

from pathlib import Path
from typing import cast

import pytest

from gateway.local.processes import Child, Restarter


class FakeChild:
    """Dies when told to; everything else of `Child` stays away from this test."""

    name = "worker"
    log_path = Path("worker.log")

    def __init__(self) -> None:
        self.status: int | None = None
        self.num_starts = 0

    def poll(self) -> int | None:
        """The status it was given."""
        return self.status

    def start(self) -> None:
        """Live again."""
        self.status = None
        self.num_starts += 1


@pytest.fixture
def child() -> FakeChild:
    return FakeChild()


@pytest.fixture
def restarter(child: FakeChild, monkeypatch: pytest.MonkeyPatch) -> Restarter:
    """First started at 0, first delay 1 s, longest 4 s, healthy after 60 s."""
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    return Restarter([cast("Child", child)], lambda _line: None, longest_delay_s=4)


def die_and_measure(restarter: Restarter, child: FakeChild, at: float) -> float:
    """Seconds from a death noticed at `at` to the next start, in steps of a quarter."""
    child.status = -9
    before, now = child.num_starts, at
    restarter.step(now)
    while child.num_starts == before:
        now += 0.25
        restarter.step(now)
    return now - at


def test_a_living_child_is_left_alone(restarter: Restarter, child: FakeChild) -> None:
    restarter.step(1)
    assert child.num_starts == 0


def test_the_delay_doubles_up_to_the_longest(restarter: Restarter, child: FakeChild) -> None:
    assert [die_and_measure(restarter, child, at) for at in (0, 10, 20, 30)] == [1, 2, 4, 4]


def test_a_child_that_was_healthy_starts_over(restarter: Restarter, child: FakeChild) -> None:
    assert [die_and_measure(restarter, child, at) for at in (0, 10, 200)] == [1, 2, 1]


def test_each_death_is_told_once(child: FakeChild) -> None:
    lines: list[str] = []
    restarter = Restarter([cast("Child", child)], lines.append)
    child.status = 3
    restarter.step(1)
    restarter.step(1.5)
    assert lines == ["worker ended with status 3; again in 1 s (log: worker.log)"]
