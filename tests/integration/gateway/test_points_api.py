"""What clients see of points: balance, ledger, estimates, and refusals that say what would do."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from gateway.db.tables import account, hold
from gateway.domain.errors import AlreadyDone
from gateway.points.audit import audit
from gateway.points.codes import create_code
from gateway.points.service import buy_topup, grant_bonus
from gateway.services import Services
from tests.support.accounts import set_plan
from tests.support.api import Client, PaperWorker
from tests.support.clock import ManualClock


@pytest.fixture
def account_id(client: Client, services: Services) -> str:
    """Id of the client's account."""
    with services.database.read() as connection:
        return str(connection.execute(select(account.c.id)).scalar_one())


@pytest.fixture(autouse=True)
def audited(services: Services) -> Iterator[None]:
    """Every test ends with a ledger in order."""
    yield
    with services.database.read() as connection:
        assert list(audit(connection)) == []


def test_asking_makes_the_days_grant_once(client: Client) -> None:
    points = client.get("/points").json()
    assert client.get("/points").json() == points
    assert (points["available"], points["held"]) == (60, 0)
    [lot] = points["lots"]
    assert lot["kind"] == "daily"
    assert lot["expires_at"] == points["resets_at"]
    assert points["plan"] == {
        "id": "free",
        "title": "Free",
        "daily_points": 60,
        "period_points": 0,
        "period_ends_at": None,
        "next_plan": None,
    }


def test_daily_points_do_not_pile_up(client: Client, clock: ManualClock) -> None:
    client.get("/points")
    clock.advance(days=1)
    assert client.get("/points").json()["available"] == 60


def test_points_are_drawn_in_the_configured_order(
    client: Client, account_id: str, services: Services
) -> None:
    plans, now = services.configuration.plans, services.clock.now()
    with services.database.write() as connection:
        pack = plans.topups[0]
        buy_topup(connection, account_id, pack, payment_id="pay-1", plans=plans, now=now)
        grant_bonus(
            connection,
            account_id,
            5,
            key="welcome",
            valid_days=3,
            reason="hello",
            plans=plans,
            now=now,
        )
    points = client.get("/points").json()
    assert [lot["kind"] for lot in points["lots"]] == ["daily", "bonus", "topup"]
    assert points["available"] == 60 + 5 + 100
    for seed in range(7):
        client.submit(seed=seed)
    held = {lot["kind"]: lot["held"] for lot in client.get("/points").json()["lots"]}
    assert held == {"daily": 60, "bonus": 5, "topup": 5}


def test_a_payment_grants_once(account_id: str, services: Services) -> None:
    plans, now = services.configuration.plans, services.clock.now()
    pack = plans.topups[0]
    with services.database.write() as connection:
        buy_topup(connection, account_id, pack, payment_id="pay-1", plans=plans, now=now)
    with pytest.raises(AlreadyDone), services.database.write() as connection:
        buy_topup(connection, account_id, pack, payment_id="pay-1", plans=plans, now=now)


def test_a_code_is_used_once_by_an_account_and_as_often_as_it_says(
    make_client: Callable[[str], Client], services: Services, clock: ManualClock
) -> None:
    with services.database.write() as connection:
        create_code(
            connection,
            "SPRING",
            points=20,
            valid_days=7,
            max_uses=2,
            expires_at=services.configuration.plans.end_of(clock.now().date()),
            now=clock.now(),
        )
    ada, bob, eve = (make_client(name) for name in ("ada", "bob", "eve"))
    assert ada.post("/points/redeem", json={"code": "SPRING"}).json()["available"] == 80
    again = ada.post("/points/redeem", json={"code": "SPRING"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_done")
    assert again.headers["x-should-retry"] == "false"
    assert bob.post("/points/redeem", json={"code": "SPRING"}).status_code == 200
    late = eve.post("/points/redeem", json={"code": "SPRING"})
    assert (late.status_code, late.json()["error"]["param"]) == (400, "code")
    assert eve.get("/points").json()["available"] == 60
    assert ada.post("/points/redeem", json={"code": "NOPE"}).status_code == 400


def test_the_ledger_tells_where_points_went(
    client: Client, worker: PaperWorker, clock: ManualClock
) -> None:
    client.get("/points")
    done = client.submit(seed=1).json()["id"]
    [assignment] = worker.claim()
    worker.finish(assignment)
    dropped = client.submit(seed=2).json()["id"]
    client.post(f"/videos/{dropped}/cancel")

    page = client.get("/points/ledger?limit=4").json()
    rows = [
        (row["kind"], row["video_id"], row["available"], row["held"], row["spent"])
        for row in page["data"]
    ]
    assert rows == [
        ("refund", dropped, 10, -10, 0),
        ("hold", dropped, -10, 10, 0),
        ("settle", done, 0, -10, 10),
        ("hold", done, -10, 10, 0),
    ]
    assert [row["balance_after"] for row in page["data"]] == [50, 40, 50, 50]
    assert page["has_more"] is True
    rest = client.get(f"/points/ledger?after={page['last_id']}").json()
    assert [(row["kind"], row["balance_after"]) for row in rest["data"]] == [("grant", 60)]
    assert rest["has_more"] is False
    beyond = client.get(f"/points/ledger?after={2**63}")
    assert (beyond.status_code, beyond.json()["error"]["param"]) == (400, "after")


def test_an_estimate_prices_and_holds_nothing(client: Client, services: Services) -> None:
    estimate = client.post("/videos/estimate", json={"prompt": "x", "mode": "pro"}).json()
    assert estimate["points"] == 20
    assert estimate["breakdown"]["multipliers"] == {"mode": "2"}
    assert (estimate["affordable"], estimate["plan_allows"]) == (True, True)
    with services.database.read() as connection:
        assert connection.execute(select(hold)).all() == []
    video = client.submit(mode="pro").json()
    assert video["usage"]["points_held"] == estimate["points"]
    assert video["usage"]["price_version"] == estimate["price_version"]
    assert video["metadata"]["num_inference_steps"] == 24


def test_too_few_points_come_with_a_request_that_fits(client: Client) -> None:
    for seed in range(5):
        client.submit(seed=seed)
    answer = client.submit(mode="pro")
    assert answer.status_code == 402
    error = answer.json()["error"]
    assert (error["required"], error["available"]) == (20, 10)
    offer = error["cheaper_request"]
    assert (offer["mode"], offer["points"]) == ("standard", 10)
    taken = {name: offer[name] for name in ("model", "mode", "size", "seconds", "fps")}
    assert client.submit(**taken).status_code == 200
    refused = client.submit().json()["error"]
    assert refused["cheaper_request"] is None
    estimate = client.post("/videos/estimate", json={"prompt": "x"}).json()
    assert (estimate["affordable"], estimate["available"]) == (False, 0)


def test_a_suspended_account_looks_and_does_not_submit(client: Client, services: Services) -> None:
    video_id = client.submit().json()["id"]
    with services.database.write() as connection:
        connection.execute(account.update().values(suspended_at=services.clock.now()))
    answer = client.submit()
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "account_suspended")
    assert client.video(video_id)["status"] == "queued"


def test_a_bought_plan_brings_its_points_and_shows_its_end(
    client: Client, account_id: str, services: Services
) -> None:
    set_plan(services, account_id, "plus")
    points = client.get("/points").json()
    assert points["available"] == 60 + 500
    assert points["plan"]["id"] == "plus"
    assert points["plan"]["period_ends_at"] > points["resets_at"]
    set_plan(services, account_id, "free")
    points = client.get("/points").json()
    assert (points["plan"]["id"], points["plan"]["next_plan"]) == ("plus", "free")
