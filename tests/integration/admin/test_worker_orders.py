"""Workers over HTTP: how they stand, and orders to drain them."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from gateway.accounts.service import Scope
from gateway.admin.log import list_log
from gateway.services import Services
from tests.conftest import WORKER_TOKEN
from tests.integration.admin.conftest import Operator
from tests.support.api import Client, PaperWorker


@pytest.fixture
def worker(http: TestClient) -> PaperWorker:
    """A worker of the default pool that was heard of."""
    paper = PaperWorker(http, WORKER_TOKEN)
    paper.beat(models=("reel-tiny",))
    return paper


def test_a_worker_is_seen_drained_and_given_jobs_again(
    services: Services,
    operator: Operator,
    worker: PaperWorker,
    make_key: Callable[[str, Scope], str],
    http: TestClient,
) -> None:
    [line] = operator.get("/workers").json()["data"]
    assert (line["name"], line["state"], line["loaded_models"]) == ("paper", "idle", ["reel-tiny"])
    Client(http, make_key("ada", Scope.CLIENT)).submit()

    drained = operator.post("/workers/paper/drain", key="k", reason="a new driver")
    assert drained.json() == {"worker": "paper", "is_draining": True}
    assert worker.claim() == []
    assert operator.get("/workers").json()["data"][0]["state"] == "draining"
    assert operator.post("/workers/paper/undrain").json()["is_draining"] is False
    again = operator.post("/workers/paper/drain", key="k", reason="a new driver")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(worker.claim()) == 1, "an order that is sent again drains nothing"

    worker.beat(unfit="its model does not load")
    [line] = operator.get("/workers").json()["data"]
    assert (line["state"], line["unfit_reason"]) == ("unfit", "its model does not load")
    with services.database.read() as connection:
        entries = [each.entry for each in list_log(connection, before=None, limit=9)]
    assert [(each.action, each.details["order"]["worker"]) for each in entries] == [
        ("worker.undrain", "paper"),
        ("worker.drain", "paper"),
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_orders_about_workers_are_refused_by_name(
    operator: Operator, worker: PaperWorker, make_key: Callable[[str, Scope], str], http: TestClient
) -> None:
    unknown = operator.post("/workers/papper/drain")
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "worker")
    assert operator.post("/workers/paper/drain", reason="").status_code == 400
    assert operator.post(f"/workers/{'w' * 129}/drain").status_code == 400
    client = Operator(http, make_key("ada", Scope.CLIENT))
    assert client.get("/workers").status_code == client.post("/workers/paper/drain").status_code
    assert client.get("/workers").status_code == 403
    assert not worker.beat().is_draining
