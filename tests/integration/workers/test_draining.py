"""A worker that an operator has drained finishes what it has, and leaves doorbells to others."""

import redis
from rq.worker import Worker as RqWorker

from gateway.protocol import queue_name
from tests.integration.workers.conftest import MakeJob, StartWorker
from tests.integration.workers.harness.gateway import ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import POOL, Valkey

LIST = f"rq:queue:{queue_name(POOL)}"


def listeners(client: redis.Redis) -> list[str]:
    """Workers that RQ knows as alive."""
    return [worker.name for worker in RqWorker.all(client)]


def test_a_drained_worker_finishes_and_takes_no_delivery_until_that_is_undone(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()
    running, waiting = make_job(steps=200), make_job()
    valkey.ring()
    wait_until(gateway.held)
    gateway.is_draining = True

    wait_until(lambda: running.job_id in gateway.completed)
    wait_until(lambda: "worker_draining" in worker.events)
    wait_until(lambda: not listeners(valkey.client))
    for _ in range(2):
        valkey.ring()
    heard = len(gateway.heartbeats)
    wait_until(lambda: len(gateway.heartbeats) > heard + 3)
    assert valkey.client.llen(LIST) == 2, "left for others"
    assert len(gateway.claims) == 1
    assert not listeners(valkey.client), "its name does not come back by a heartbeat"

    gateway.is_draining = False
    wait_until(lambda: waiting.job_id in gateway.completed)
    assert "worker_drain_undone" in worker.events


def test_an_idle_worker_learns_of_its_drain_by_the_next_claim_at_the_latest(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    worker = start_worker()
    wait_until(lambda: listeners(valkey.client))
    gateway.is_draining = True
    make_job()
    valkey.ring()
    wait_until(lambda: not listeners(valkey.client))
    assert len(gateway.claims) == 1
    assert gateway.held() == []
    assert worker.is_running()


def test_a_worker_that_starts_drained_stays_so(
    valkey: Valkey, gateway: ScriptedGateway, start_worker: StartWorker, make_job: MakeJob
) -> None:
    gateway.is_draining = True
    worker = start_worker()
    make_job()
    valkey.ring()
    heard = len(gateway.heartbeats)
    wait_until(lambda: len(gateway.heartbeats) > heard + 3)
    assert (gateway.claims, valkey.client.llen(LIST)) == ([], 1)
    assert worker.events.count("worker_draining") == 1
