"""What a plan refuses, and what it says instead."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.db.tables import account
from gateway.services import Services
from tests.conftest import ROOT
from tests.support.accounts import set_plan
from tests.support.api import Client, PaperWorker
from tests.support.clock import ManualClock


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """The plans of the tests, but the free one is narrow."""
    folder = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", folder)
    text = (ROOT / "tests" / "support" / "plans.yaml").read_text(encoding="utf-8")
    roomy = "    max_running: 10\n    max_queued: 10\n"
    narrow = (
        "    max_running: 1\n    max_queued: 2\n    max_jobs_per_day: 3\n    modes: [standard]\n"
    )
    assert roomy in text
    (folder / "plans.yaml").write_text(text.replace(roomy, narrow, 1), encoding="utf-8")
    return folder


def test_a_plan_refuses_what_it_does_not_hold_and_names_the_one_that_does(
    client: Client, services: Services
) -> None:
    answer = client.submit(mode="pro")
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert (error["code"], error["param"], error["limit"], error["value"]) == (
        "plan_limit",
        "mode",
        ["standard"],
        "pro",
    )
    assert error["smallest_plan"] == "plus"
    estimate = client.post("/videos/estimate", json={"prompt": "x", "mode": "pro"}).json()
    assert estimate["plan_allows"] is False
    assert estimate["plan_limit"]["smallest_plan"] == "plus"
    assert estimate["cheaper_request"]["mode"] == "standard"
    with services.database.read() as connection:
        account_id = connection.execute(select(account.c.id)).scalar_one()
    set_plan(services, account_id, "plus")
    assert client.submit(mode="pro").status_code == 200


def test_a_full_queue_is_a_429_that_says_when_to_come_back(client: Client) -> None:
    for seed in range(2):
        assert client.submit(seed=seed).status_code == 200
    answer = client.submit()
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_jobs")
    assert int(answer.headers["Retry-After"]) > 0


def test_a_used_up_day_is_a_429_that_no_retry_cures(
    client: Client, worker: PaperWorker, clock: ManualClock
) -> None:
    for seed in range(3):
        video_id = client.submit(seed=seed).json()["id"]
        client.delete(f"/videos/{video_id}")
    answer = client.submit()
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["limit"]) == (429, "daily_limit", 3)
    assert answer.headers["x-should-retry"] == "false"
    assert error["resets_at"] == "2026-11-22T00:00:00+08:00"
    clock.advance(days=1)
    assert client.submit().status_code == 200


def test_an_account_runs_no_more_than_its_plan_allows(
    make_client: Callable[[str], Client], worker: PaperWorker
) -> None:
    ada, bob = make_client("ada"), make_client("bob")
    for seed in range(2):
        ada.submit(seed=seed)
    bob.submit()
    claimed = worker.claim(room=3)
    assert len(claimed) == 2
    assert worker.claim(room=3) == []
    for assignment in claimed:
        worker.finish(assignment)
    assert len(worker.claim(room=3)) == 1
