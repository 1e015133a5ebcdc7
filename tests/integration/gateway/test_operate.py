"""The operator's view: who works, what waits, what became of a job, and taking one back."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import select
from typer.testing import CliRunner, Result

from gateway.admin.log import list_log, verify_log
from gateway.cli.operate import operate
from gateway.db.tables import attempt
from gateway.housekeeping import reap_lost_jobs
from gateway.points.audit import audit
from gateway.protocol import queue_name
from gateway.services import Services
from tests.support.accounts import set_plan
from tests.support.api import PROMPT, Client, PaperWorker
from tests.support.clock import ManualClock

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

Operate = Callable[..., Result]


@pytest.fixture
def run(services: Services, monkeypatch: pytest.MonkeyPatch) -> Operate:
    """Runs `reelgate admin ...` on the same database, Redis and clock."""
    settings = services.settings
    variables = {
        "CONFIG_DIR": settings.config_dir,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "STORAGE_DIR": settings.storage_dir,
        "SECRET": settings.secret.get_secret_value(),
        "WORKER_TOKEN": settings.worker_token.get_secret_value(),
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"REELGATE_{name}", str(value))
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("gateway.services.SystemClock", lambda: services.clock)
    return lambda *words: CliRunner().invoke(operate, [*map(str, words)])


@pytest.fixture
def ask(run: Operate) -> Callable[..., Any]:
    """The JSON answer of a command."""

    def answer(*words: object) -> Any:
        result = run(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return answer


def test_jobs_are_listed_and_picked_by_state_account_and_pool(
    make_client: Callable[[str], Client], worker: PaperWorker, ask: Callable[..., Any], run: Operate
) -> None:
    ada, bob = make_client("ada"), make_client("bob")
    first = ada.submit().json()["id"]
    worker.claim()
    second = bob.submit().json()["id"]

    def ids(*words: object) -> set[str]:
        return {line["id"] for line in ask("jobs", *words)["jobs"]}

    assert ids() == {first, second}
    assert ids("--state", "running") == ids("--account", "ada") == {first}
    assert ids("--pool", "default", "--state", "queued") == {second}
    assert ids("--pool", "another") == ids("--account", "nobody") == set()
    assert len(ids("--limit", "1")) == 1
    table = run("jobs").stdout
    assert first in table
    assert "bob (free)" in table


def test_the_queue_is_counted_by_pool_and_plan(
    make_client: Callable[[str], Client],
    worker: PaperWorker,
    services: Services,
    clock: ManualClock,
    ask: Callable[..., Any],
    run: Operate,
) -> None:
    ada, bob = make_client("ada"), make_client("bob")
    with services.database.read() as connection:
        bobs = connection.exec_driver_sql("SELECT id FROM account WHERE name = 'bob'").scalar_one()
    set_plan(services, bobs, "plus")
    assert ask("queue") == {"queue": []}
    ada.submit()
    worker.claim()
    ada.submit(seed=1)
    clock.advance(seconds=90)
    bob.submit()
    common = {"pool": "default"}
    assert ask("queue")["queue"] == [
        {**common, "plan": "free", "waiting": 1, "running": 1, "oldest_wait_s": 90},
        {**common, "plan": "plus", "waiting": 1, "running": 0, "oldest_wait_s": 0},
    ]
    assert "0:01:30" in run("queue").stdout


def test_a_job_is_shown_with_its_history_but_not_its_words(
    client: Client, worker: PaperWorker, ask: Callable[..., Any], run: Operate
) -> None:
    video_id = client.submit(negative_prompt="blurred").json()["id"]
    [assignment] = worker.claim()
    worker.fail(assignment, retryable=True)
    worker.claim()
    case = ask("job", video_id)
    assert case["job"]["state"] == "running"
    history = [(each["attempt"], each["outcome"]) for each in case["attempts"]]
    assert history == [(1, "failed"), (2, None)]
    assert (case["hold"]["points"], case["hold"]["charged"]) == (10, None)
    assert case["spec"]["num_frames"] > 0
    for answer in (json.dumps(case), run("job", video_id).stdout):
        assert PROMPT not in answer
        assert "blurred" not in answer
    assert ask("job", video_id, "--show-prompt")["spec"]["prompt"] == PROMPT
    assert PROMPT in run("job", video_id, "--show-prompt").stdout


def test_what_clients_wrote_does_not_steer_the_terminal(client: Client, run: Operate) -> None:
    video_id = client.submit(prompt="[red]a\x1b[2Jb").json()["id"]
    assert "[red]a?[2Jb" in run("job", video_id, "--show-prompt").stdout


def test_a_job_that_is_taken_back_waits_again_with_its_hold(
    client: Client,
    worker: PaperWorker,
    services: Services,
    redis_url: str,
    ask: Callable[..., Any],
    run: Operate,
) -> None:
    video_id = client.submit().json()["id"]
    [lost] = worker.claim()
    assert run("requeue", video_id).exit_code == 2
    taken = run("requeue", video_id, "--reason", "its fan is loud", "--json")
    assert json.loads(taken.stdout) == {
        "job_id": video_id,
        "state": "queued",
        "attempt": 1,
        "worker": "paper",
    }
    assert "its fan is loud" in taken.stderr
    assert client.video(video_id)["usage"]["points_held"] == 10
    with services.database.read() as connection:
        row = connection.execute(select(attempt)).one()
        assert list(audit(connection)) == []
        [line] = list_log(connection, before=None, limit=2)
        assert verify_log(connection).first_broken is None
    logged = (line.entry.action, line.entry.reason, line.entry.details)
    lost_one = {"job_id": video_id, "attempt": 1, "worker": "paper"}
    assert logged == ("job.requeue", "its fan is loud", lost_one)
    assert (row.outcome, row.error_code) == ("lost", "worker_lost")
    with Redis.from_url(redis_url) as redis:
        assert redis.lrange(f"rq:queue:{queue_name('default')}", 0, -1)[-1].endswith(b"-a2")

    assert worker.heartbeat(lost) == [video_id]
    assert worker.fail(lost, retryable=True).status_code == 409
    [again] = worker.claim()
    assert (again.job_id, again.attempt) == (video_id, 2)
    worker.finish(again)
    assert client.video(video_id)["status"] == "completed"


def test_only_a_running_job_is_taken_back(client: Client, run: Operate) -> None:
    video_id = client.submit().json()["id"]
    for job_id, text in ((video_id, "does not run"), ("video_none", "no job video_none")):
        refused = run("requeue", job_id, "--reason", "x")
        assert (refused.exit_code, text in refused.stderr) == (1, True)
    assert run("job", "video_none").exit_code == 1


def test_workers_are_known_by_what_they_did(
    client: Client,
    worker: PaperWorker,
    services: Services,
    clock: ManualClock,
    ask: Callable[..., Any],
    run: Operate,
) -> None:
    sick = PaperWorker(worker.http, worker.token, name="sick")
    ids = [client.submit(seed=seed).json()["id"] for seed in range(3)]
    for one, is_good in ((sick, True), (sick, False)):
        [assignment] = one.claim()
        if is_good:
            one.finish(assignment)
        else:
            one.fail(assignment, retryable=True)
        clock.advance(seconds=1)
    sick.claim()
    clock.advance(seconds=services.settings.lease_s + 1)
    reap_lost_jobs(services)
    [assignment] = worker.claim()
    workers = {line["name"]: line for line in ask("workers")["workers"]}
    assert set(workers) == {"sick", "paper"}
    assert workers["sick"]["failures_in_a_row"] == 2
    assert (workers["sick"]["last_outcome"], workers["sick"]["running"]) == ("lost", [])
    assert workers["paper"]["running"] == [assignment.job_id]
    assert workers["paper"]["pool"] == "default"
    assert assignment.job_id in ids
    assert "sick" in run("workers").stdout


def test_a_draining_worker_gets_no_more_jobs(
    client: Client,
    worker: PaperWorker,
    services: Services,
    redis_url: str,
    ask: Callable[..., Any],
    run: Operate,
) -> None:
    client.submit()
    client.submit(seed=1)
    [held] = worker.claim()
    assert run("drain", "paper").exit_code == 2, "nobody drains without a reason"
    order = ("drain", "paper", "--reason", "a new driver")
    assert ask(*order) == {"worker": "paper", "is_draining": True}
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    assert (worker.ask().jobs, worker.ask().is_draining) == ([], True)
    reply = worker.beat(held)
    assert (reply.drop, reply.is_draining) == ([], True)
    assert reply.heartbeat_s == services.settings.heartbeat_s
    worker.finish(held)
    [line] = ask("workers")["workers"]
    assert (line["state"], line["is_draining"]) == ("draining", True)
    assert len(PaperWorker(worker.http, worker.token, name="other").claim()) == 1

    client.submit(seed=2)
    undo = ("undrain", "paper", "--reason", "it is in")
    assert ask(*undo) == {"worker": "paper", "is_draining": False}
    assert not worker.beat().is_draining
    assert len(worker.claim()) == 1
    with services.database.read() as connection:
        logged = [each.entry for each in list_log(connection, before=None, limit=5)]
        assert verify_log(connection).first_broken is None
    assert [(each.action, each.reason) for each in logged] == [
        ("worker.undrain", "it is in"),
        ("worker.drain", "a new driver"),
    ]


def test_the_same_drain_twice_under_a_key_is_one(worker: PaperWorker, run: Operate) -> None:
    worker.beat()
    order = ("drain", "paper", "--reason", "x", "--key", "k")
    assert run(*order).stdout == "paper gets no more jobs\n"
    assert run("undrain", "paper", "--reason", "y").stdout == "paper gets jobs again\n"
    again = run(*order)
    assert "done before under this key" in again.stderr
    assert not worker.beat().is_draining


def test_only_a_worker_that_is_known_is_drained(run: Operate) -> None:
    refused = run("drain", "papper", "--reason", "x")
    assert (refused.exit_code, refused.stderr) == (1, "no worker 'papper' was heard of\n")


def test_the_state_of_a_worker_is_what_it_said_last(
    client: Client,
    worker: PaperWorker,
    services: Services,
    clock: ManualClock,
    redis_url: str,
    ask: Callable[..., Any],
    run: Operate,
) -> None:
    def state() -> str:
        with Redis.from_url(redis_url) as redis:
            redis.flushall()
        [line] = ask("workers")["workers"]
        return str(line["state"])

    reason = "model reel-tiny does not load: no weights"
    worker.beat(unfit=reason)
    assert state() == "unfit"
    assert f"unfit: {reason}" in run("workers").stdout
    assert run("drain", "paper", "--reason", "x").exit_code == 0
    assert f"unfit: {reason}, draining" in run("workers").stdout
    worker.beat(models=("a", "b"))
    assert state() == "draining"
    run("undrain", "paper", "--reason", "x")
    assert state() == "idle"
    [line] = ask("workers")["workers"]
    assert (line["pool"], line["loaded_models"]) == ("default", ["a", "b"])
    client.submit()
    worker.claim()
    assert state() == "busy"
    clock.advance(seconds=services.settings.lease_s)
    assert state() == "busy"
    clock.advance(seconds=1)
    assert state() == "dead"
    assert "0:01:01 ago" in run("workers").stdout


@pytest.mark.parametrize(
    ("field", "value"),
    [("worker", "w" * 129), ("worker", ""), ("pool", "p" * 33), ("unfit", "x" * 501)],
)
def test_a_heartbeat_of_no_measure_is_refused_by_its_field(
    worker: PaperWorker, field: str, value: str
) -> None:
    body = {"worker": "w", "pool": "default", "held": [], field: value}
    headers = {"Authorization": f"Bearer {worker.token}"}
    answer = worker.http.post("/worker/v1/heartbeat", json=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]["param"]
