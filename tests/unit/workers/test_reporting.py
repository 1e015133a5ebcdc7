"""Waiting for reports: as long as needed, no longer, and never past the one that was just sent."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from typing_extensions import override

from gateway.protocol import FailRequest, FailureCode
from tests.integration.workers.harness.polling import wait_until
from workers.condition import Condition
from workers.gateway_client import GatewayClient
from workers.lease import LeaseKeeper
from workers.live import LiveChannel
from workers.reporting import Report, Reporter
from workers.spool import AttemptFolder

NEVER_S = 30.0
FAILURE = FailRequest(attempt=1, code=FailureCode.MODEL_ERROR, message="no", retryable=True)


class Gate:
    """Stands for the gateway: takes a report for each that is let in."""

    def __init__(self) -> None:
        self.reported: list[str] = []
        self._let_in = threading.Semaphore(0)

    def let_in(self) -> None:
        """One report more."""
        self._let_in.release()

    def fail(self, job_id: str, _request: FailRequest) -> None:
        """Wait to be let in."""
        assert self._let_in.acquire(timeout=NEVER_S)
        self.reported.append(job_id)


class Flag(threading.Event):
    """The flag of settled reports, with what happens right before it is cleared or waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.before_clear: Callable[[], None] = lambda: None
        self.before_wait: Callable[[], None] = lambda: None

    @override
    def clear(self) -> None:
        self.before_clear()
        super().clear()

    @override
    def wait(self, timeout: float | None = None) -> bool:
        self.before_wait()
        has_settled = super().wait(NEVER_S)
        assert has_settled, "slept over a report that was settled"
        return has_settled


class Rig:
    """A reporter whose gateway and flag the test holds."""

    def __init__(self, folder: Path) -> None:
        self.gate, self.flag = Gate(), Flag()
        gateway = cast("GatewayClient", self.gate)
        lease = LeaseKeeper(gateway, "w", pool="p", condition=Condition(folder))
        self.reporter = Reporter(gateway, lease, cast("LiveChannel", None))
        self.reporter._settled = self.flag
        self._folder = folder

    def submit(self, *job_ids: str) -> None:
        """Failures to be reported."""
        for job_id in job_ids:
            attempt = AttemptFolder(self._folder / f"{job_id}-1")
            attempt.create()
            self.reporter.submit(Report(attempt, FAILURE))

    def settle(self, job_id: str) -> None:
        """Have a report accepted, and wait until the reporter is through with it."""
        if job_id not in self.gate.reported:
            self.gate.let_in()
            wait_until(self.flag.is_set)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.reporter.start()
    yield made
    made.reporter.close(0)


def test_a_flush_ends_with_the_last_report(rig: Rig) -> None:
    rig.submit("a", "b")
    rig.flag.before_wait = rig.gate.let_in
    rig.reporter.flush(give_up=lambda: False)
    assert rig.gate.reported == ["a", "b"]


def test_a_flush_may_leave_some(rig: Rig) -> None:
    rig.submit("a", "b")
    rig.flag.before_wait = rig.gate.let_in
    rig.reporter.flush(give_up=lambda: False, up_to=1)
    assert rig.gate.reported == ["a"]
    rig.gate.let_in()


def test_a_report_that_settles_between_two_looks_is_not_slept_over(rig: Rig) -> None:
    rig.submit("a")
    rig.flag.before_clear = lambda: rig.settle("a")
    rig.reporter.flush(give_up=lambda: False)
    assert rig.gate.reported == ["a"]


def test_a_flush_is_given_up(rig: Rig) -> None:
    rig.submit("a")
    rig.reporter.flush(give_up=lambda: True)
    assert rig.gate.reported == []
    rig.gate.let_in()
