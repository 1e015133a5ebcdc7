"""The ETA of an estimate is the one that the same request gets when it is submitted."""

from collections.abc import Callable
from typing import Any

from gateway.domain.durations import DurationKey
from gateway.housekeeping import refresh_forecasts
from gateway.jobs.durations import note
from gateway.jobs.eta import KEEP_FOR, SHORT_QUEUE
from gateway.jobs.lane_repair import rebuild_lanes
from gateway.services import Services
from tests.support.api import Client, PaperWorker
from tests.support.clock import ManualClock
from tests.support.waiting import POOL, Want, add_accounts, add_jobs


def estimate(client: Client) -> Any:
    """What a dry run says about the time."""
    return client.post("/videos/estimate", json={"prompt": "x"}).json()["eta_seconds"]


def test_nobody_promises_a_time_without_a_worker(client: Client) -> None:
    assert estimate(client) is None


def test_an_idle_pool_and_a_busy_one_are_foreseen(
    client: Client, worker: PaperWorker, clock: ManualClock
) -> None:
    worker.claim()
    foreseen = [estimate(client)]
    told = [client.submit().json()["eta_seconds"]]
    worker.claim()
    for seed in range(3):
        clock.advance(seconds=KEEP_FOR.total_seconds())
        worker.heartbeat()
        foreseen.append(estimate(client))
        told.append(client.submit(seed=seed).json()["eta_seconds"])
    assert None not in told
    assert foreseen == told
    assert told[-1]["p50"] > told[0]["p50"]


def test_the_place_in_the_fair_queue_counts(
    make_client: Callable[[str], Client], worker: PaperWorker, services: Services
) -> None:
    flooder, quiet = make_client("flooder"), make_client("quiet")
    worker.claim()
    for seed in range(5):
        flooder.submit(seed=seed)
    before = estimate(quiet)
    assert before["p50"] < estimate(flooder)["p50"]
    assert quiet.submit().json()["eta_seconds"] == before


def test_a_long_queue_places_a_request_as_it_would_a_job(
    client: Client, worker: PaperWorker, services: Services, clock: ManualClock
) -> None:
    worker.claim()
    with services.database.write() as connection:
        add_accounts(connection, {"acc_a": "free"}, now=clock.now())
        add_jobs(connection, [Want("acc_a")] * (SHORT_QUEUE + 1), now=clock.now())
        rebuild_lanes(connection, services.configuration.plans)
    with services.database.read() as connection:
        services.forecasts.refresh(connection, POOL)
    clock.advance(seconds=1)
    foreseen = estimate(client)
    assert foreseen is not None
    assert refresh_forecasts(services) == 1
    clock.advance(seconds=1)
    assert client.submit().json()["eta_seconds"] == estimate(client)


def test_modes_are_estimated_apart(client: Client, worker: PaperWorker, services: Services) -> None:
    worker.claim()
    took_s = {"standard": 5.0, "pro": 50.0}
    with services.database.write() as connection:
        for mode, seconds in took_s.items():
            key = DurationKey(
                "reel-tiny", "text_to_video", "96x96", 17, 12, 8, mode, is_guided=True
            )
            note(connection, key, seconds)
    found = []
    for mode in took_s:
        request = {"prompt": "x", "mode": mode, "num_inference_steps": 12}
        answer = client.post("/videos/estimate", json=request).json()
        found.append(answer["eta_seconds"]["p50"])
    # A worker without a model loads one first, for either.
    assert found[1] - found[0] == 45
