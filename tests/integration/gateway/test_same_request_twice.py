"""The same request twice is one job and one hold, whichever way it is known again."""

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select

from gateway.db.tables import hold, job
from gateway.services import Services
from tests.support.api import Client
from tests.support.clock import ManualClock

RETRY = {"x-stainless-retry-count": "1"}


def count_jobs(services: Services) -> int:
    """Jobs, each of which must have its hold."""
    with services.database.read() as connection:
        jobs = connection.execute(select(func.count()).select_from(job)).scalar_one()
        assert connection.execute(select(func.count()).select_from(hold)).scalar_one() == jobs
    return int(jobs)


def test_an_idempotency_key_answers_with_the_first_job(client: Client, services: Services) -> None:
    headers = {"Idempotency-Key": "one"}
    first = client.submit(seed=1, headers=headers)
    second = client.submit(seed=1, headers=headers)
    assert second.json()["id"] == first.json()["id"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert count_jobs(services) == 1


def test_a_used_key_with_another_body_is_refused(client: Client, services: Services) -> None:
    headers = {"Idempotency-Key": "one"}
    client.submit(seed=1, headers=headers)
    answer = client.submit(seed=2, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "idempotency_mismatch"
    assert count_jobs(services) == 1


def test_a_key_is_forgotten_after_a_day(
    client: Client, services: Services, clock: ManualClock
) -> None:
    headers = {"Idempotency-Key": "one"}
    client.submit(seed=1, headers=headers)
    clock.advance(hours=25)
    assert client.submit(seed=2, headers=headers).status_code == 200
    assert count_jobs(services) == 2


def test_the_clients_own_task_id_is_a_key(client: Client, services: Services) -> None:
    first = client.submit(external_task_id="mine", seed=1).json()["id"]
    assert client.submit(external_task_id="mine", seed=1).json()["id"] == first
    assert client.submit(external_task_id="mine", seed=2).status_code == 422
    assert count_jobs(services) == 1


def test_a_request_whose_job_was_deleted_is_told_so(client: Client) -> None:
    video_id = client.submit(external_task_id="mine").json()["id"]
    client.delete(f"/videos/{video_id}")
    again = client.submit(external_task_id="mine")
    assert (again.status_code, again.json()["error"]["param"]) == (404, "video_id")
    assert f"{video_id}, which was deleted; use a fresh key" in again.json()["error"]["message"]


def test_an_sdk_that_retries_blindly_gets_its_first_job(client: Client, services: Services) -> None:
    first = client.submit(seed=1).json()["id"]
    assert client.submit(seed=1, headers=RETRY).json()["id"] == first
    assert client.submit(seed=2, headers=RETRY).json()["id"] != first
    assert count_jobs(services) == 2


def test_two_equal_requests_on_purpose_are_two_jobs(
    client: Client, services: Services, clock: ManualClock
) -> None:
    ids = {client.submit(seed=1).json()["id"] for _ in range(2)}
    assert len(ids) == 2
    clock.advance(seconds=121)
    late = client.submit(seed=1, headers=RETRY).json()["id"]
    assert late not in ids
    assert count_jobs(services) == 3


def test_the_same_key_in_parallel_is_one_job(client: Client, services: Services) -> None:
    headers = {"Idempotency-Key": "one"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.submit(seed=1, headers=headers), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert count_jobs(services) == 1


def test_parallel_submits_spend_no_point_twice(client: Client, services: Services) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda seed: client.submit(seed=seed), range(10)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 6 + [402] * 4
    assert count_jobs(services) == 6
