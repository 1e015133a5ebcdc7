"""Heartbeats name what is held; what the gateway wants dropped is remembered."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from gateway.protocol import AttemptRef, HeartbeatReply, HeartbeatRequest
from tests.integration.workers.harness.polling import wait_until
from workers.condition import NOT_LOADED_YET, Condition
from workers.gateway_client import GatewayClient, GatewayUnavailable
from workers.lease import LeaseKeeper

FIRST = AttemptRef(job_id="a", attempt=1)
SECOND = AttemptRef(job_id="a", attempt=2)
OTHER = AttemptRef(job_id="b", attempt=1)


class Heard:
    """Stands for the gateway: remembers heartbeats and answers as told."""

    def __init__(self) -> None:
        self.requests: list[HeartbeatRequest] = []
        self.drop: list[str] = []
        self.failures = 0
        self.heartbeat_s = 10.0
        self.is_draining = False

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatReply:
        """Answer as told."""
        self.requests.append(request)
        if self.failures:
            self.failures -= 1
            raise GatewayUnavailable("x")
        return HeartbeatReply(
            drop=self.drop, heartbeat_s=self.heartbeat_s, is_draining=self.is_draining
        )


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def condition(tmp_path: Path) -> Condition:
    return Condition(tmp_path)


@pytest.fixture
def lease(heard: Heard, condition: Condition) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(cast("GatewayClient", heard), "w1", pool="p", condition=condition)
    keeper.start()
    yield keeper
    keeper.close()


def test_who_holds_nothing_is_heard_of_too(
    heard: Heard, lease: LeaseKeeper, condition: Condition
) -> None:
    heard.heartbeat_s = 0.01
    wait_until(lambda: heard.requests)
    first = heard.requests[0]
    assert (first.worker, first.pool, first.held) == ("w1", "p", [])
    assert first.unfit == NOT_LOADED_YET
    lease.hold(FIRST, 0.01)
    condition.become_fit(("a", "b"))
    wait_until(lambda: heard.requests[-1].loaded_models == ["a", "b"])
    assert heard.requests[-1].unfit is None
    condition.become_unfit("broken\x00\n" + "x" * 1000)
    wait_until(lambda: heard.requests[-1].unfit is not None)
    assert str(heard.requests[-1].unfit).startswith("broken  xxx")
    lease.release(FIRST)
    wait_until(lambda: heard.requests[-1].held == [])


def test_a_drain_is_learnt_from_the_answer_and_so_is_its_end(
    heard: Heard, lease: LeaseKeeper, condition: Condition
) -> None:
    heard.heartbeat_s, heard.is_draining = 0.01, True
    lease.hold(FIRST, 0.01)
    wait_until(lambda: condition.is_draining)
    heard.is_draining = False
    wait_until(lambda: not condition.is_draining)


def test_what_is_held_is_named_until_it_is_released(heard: Heard, lease: LeaseKeeper) -> None:
    lease.hold(FIRST, 0.01)
    lease.hold(OTHER, 0.01)
    wait_until(lambda: heard.requests and heard.requests[-1].held == [FIRST, OTHER])
    lease.release(FIRST)
    wait_until(lambda: heard.requests[-1].held == [OTHER])
    assert heard.requests[-1].worker == "w1"


def test_a_drop_is_remembered_until_the_release(heard: Heard, lease: LeaseKeeper) -> None:
    heard.drop = ["b", "unknown"]
    lease.hold(FIRST, 0.01)
    lease.hold(OTHER, 0.01)
    wait_until(lambda: lease.is_dropped(OTHER))
    assert not lease.is_dropped(FIRST)
    lease.release(OTHER)
    assert not lease.is_dropped(OTHER)


def test_a_new_attempt_ends_an_older_one(heard: Heard, lease: LeaseKeeper) -> None:
    lease.hold(FIRST, 0.01)
    lease.hold(SECOND, 0.01)
    assert lease.is_dropped(FIRST)
    assert not lease.is_dropped(SECOND)
    wait_until(lambda: heard.requests and heard.requests[-1].held == [SECOND])


def test_a_failed_heartbeat_is_sent_again(heard: Heard, lease: LeaseKeeper) -> None:
    heard.failures = 2
    lease.hold(FIRST, 0.01)
    wait_until(lambda: len(heard.requests) >= 3)
