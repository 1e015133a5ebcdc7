"""Heartbeats name what is held; what the gateway wants dropped is remembered."""

from collections.abc import Iterator
from typing import cast

import pytest

from gateway.protocol import AttemptRef, HeartbeatReply, HeartbeatRequest
from tests.integration.workers.harness.polling import wait_until
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

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatReply:
        """Answer as told."""
        self.requests.append(request)
        if self.failures:
            self.failures -= 1
            raise GatewayUnavailable("x")
        return HeartbeatReply(drop=self.drop)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def lease(heard: Heard) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(cast("GatewayClient", heard), "w1")
    keeper.start()
    yield keeper
    keeper.close()


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
