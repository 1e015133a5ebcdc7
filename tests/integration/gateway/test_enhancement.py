"""Sizes and rates above the model's own: offered, limited by plans and priced like any other."""

from typing import Any

import pytest
from sqlalchemy import select

from gateway.db.tables import account
from gateway.services import Services
from tests.support.accounts import set_plan
from tests.support.api import Client, PaperWorker

OWN = ["96x96", "160x96", "96x160", "64x64", "96x64", "64x96"]
TWICE = ["192x192", "320x192", "192x320", "128x128", "192x128", "128x192"]
FOUR_TIMES = ["384x384", "640x384", "384x640", "256x256", "384x256", "256x384"]


def test_models_say_what_is_enhanced(client: Client) -> None:
    tiny = client.get("/models").json()["data"][0]
    assert tiny["sizes"] == OWN + TWICE + FOUR_TIMES
    assert tiny["fps"] == [8, 16, 24, 48]
    assert tiny["enhanced"] == {"sizes": TWICE + FOUR_TIMES, "fps": [16, 24, 48]}


@pytest.mark.parametrize(
    ("asked", "made", "points"),
    [
        ({}, ("96x96", 8, 17), 10),
        ({"fps": 16}, ("96x96", 16, 33), 12),
        ({"fps": 24, "num_frames": 49}, ("96x96", 24, 49), 12),
        ({"resolution": "192p"}, ("192x192", 8, 17), 12),
        ({"width": 384, "height": 384, "fps": 24}, ("384x384", 24, 49), 18),
    ],
)
def test_a_request_gets_and_pays_for_what_it_names(
    client: Client, asked: dict[str, Any], made: tuple[str, int, int], points: int
) -> None:
    answer = client.submit(**asked)
    assert answer.status_code == 200, answer.text
    video = answer.json()
    spec = video["metadata"]
    assert (video["size"], spec["fps"], spec["num_frames"]) == made
    assert video["usage"]["points_held"] == points
    assert video["seconds"] == "2"


def test_a_plan_limits_enhanced_rates_too(client: Client, services: Services) -> None:
    answer = client.submit(fps=48)
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert (error["code"], error["param"], error["limit"], error["value"]) == (
        "plan_limit",
        "fps",
        24,
        48,
    )
    assert error["smallest_plan"] == "top"
    with services.database.read() as connection:
        account_id = connection.execute(select(account.c.id)).scalar_one()
    set_plan(services, account_id, "top")
    assert client.submit(fps=48).json()["usage"]["points_held"] == 15


@pytest.mark.parametrize(
    ("asked", "param", "limit"),
    [
        ({"size": "512x512"}, "size", OWN + TWICE + FOUR_TIMES),
        ({"fps": 60}, "fps", [8, 16, 24, 48]),
        ({"fps": 16, "num_frames": 21}, "num_frames", "8k+1 from 17 to 97"),
    ],
)
def test_what_no_enhancement_reaches_is_refused_by_name(
    client: Client, asked: dict[str, Any], param: str, limit: object
) -> None:
    answer = client.submit(**asked)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["limit"]) == (param, limit)


def test_the_worker_is_given_what_was_asked_for_and_batches_only_its_like(
    client: Client, worker: PaperWorker
) -> None:
    for asked in ({}, {"fps": 16}, {"size": "192x192"}):
        assert client.submit(**asked).status_code == 200
    alone = [worker.claim(room=4) for _ in range(3)]
    assert sorted((job.spec.size, job.spec.fps) for [job] in alone) == [
        ("192x192", 8),
        ("96x96", 8),
        ("96x96", 16),
    ]
    for [job] in alone:
        worker.finish(job)
    for seed in range(2):
        assert client.submit(fps=16, seed=seed).status_code == 200
    assert len(worker.claim(room=4)) == 2


def test_too_few_points_never_lead_to_more_than_was_wanted(client: Client) -> None:
    for _ in range(5):
        assert client.submit().status_code == 200
    # 10 of 60 points are left.
    answer = client.submit(size="192x192", fps=16)
    assert answer.status_code == 402
    cheaper = answer.json()["error"]["cheaper_request"]
    assert (cheaper["size"], cheaper["fps"], cheaper["points"]) == ("96x96", 8, 10)
