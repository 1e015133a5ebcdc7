"""What operators do over HTTP: once, with a reason, and on record."""

import csv
import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Connection, delete, select, text, update
from sqlalchemy.exc import DBAPIError

from gateway.accounts.service import Scope
from gateway.admin.log import NO_HASH, list_log, verify_log
from gateway.admin.once import Signature
from gateway.admin.orders import Suspend
from gateway.admin.service import change_account
from gateway.db.tables import account, admin_log, lot
from gateway.points.audit import audit
from gateway.services import Services
from tests.integration.admin.conftest import Operator
from tests.integration.workers.harness.polling import wait_until
from tests.support.api import Client
from tests.support.clock import ManualClock

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def assert_on_record(services: Services, *actions: str) -> None:
    """The log holds, names these actions, the oldest first, and the books are in order."""
    with services.database.read() as connection:
        lines = list_log(connection, before=None, limit=1000)
        assert [line.entry.action for line in reversed(lines)] == [*actions]
        assert verify_log(connection).first_broken is None
        assert list(audit(connection)) == []


def test_an_account_begins_with_the_day_of_its_plan(operator: Operator) -> None:
    made = operator.post("/accounts", name="rich", plan="top").json()
    assert {lot["kind"]: lot["available"] for lot in made["lots"]}["daily"] == 100


def test_an_account_through_its_life(services: Services, operator: Operator) -> None:
    ada = operator.create("ada")
    assert operator.get(f"/accounts/{ada}").json()["available"] == 60
    bought = operator.post(f"/accounts/{ada}/plan", plan="plus", num_periods=3).json()
    assert (bought["plan"], bought["available"]) == ("plus", 560)
    assert bought["subscription"]["num_periods"] == 3
    granted = operator.post(f"/accounts/{ada}/points/grant", points=7, valid_days=1).json()
    assert granted["available"] == 567
    paid = operator.post(f"/accounts/{ada}/points/topup", pack="pack", payment_id="p-1").json()
    assert paid["available"] == 667
    assert {each["kind"] for each in paid["lots"]} == {"daily", "plan", "bonus", "topup"}
    less = operator.post(f"/accounts/{ada}/points/correct", points=-600).json()
    assert less["available"] == 67
    more = operator.post(f"/accounts/{ada}/points/correct", points=3).json()
    assert more["available"] == 70
    lower = operator.post(f"/accounts/{ada}/plan", plan="free").json()
    assert (lower["plan"], lower["subscription"]["next_plan"]) == ("plus", "free")
    assert_on_record(
        services,
        "account.create",
        "plan.set",
        "points.grant",
        "points.topup",
        "points.correct",
        "points.correct",
        "plan.set",
    )


def test_a_suspended_account_looks_and_does_not_submit(
    services: Services, operator: Operator, make_key: Callable[[str, Scope], str], http: TestClient
) -> None:
    client = Client(http, make_key("ada", Scope.CLIENT))
    [ada] = [
        each["id"] for each in operator.get("/accounts", params={"name": "ada"}).json()["data"]
    ]
    first = operator.post(f"/accounts/{ada}/suspend").json()["suspended_at"]
    assert first is not None
    refused = client.submit()
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "account_suspended")
    redeemed = client.post("/points/redeem", json={"code": "SPRING"})
    assert (redeemed.status_code, redeemed.json()["error"]["code"]) == (403, "account_suspended")
    assert client.get("/points").status_code == 200
    assert operator.post(f"/accounts/{ada}/suspend").json()["suspended_at"] == first
    assert operator.post(f"/accounts/{ada}/resume").json()["suspended_at"] is None
    assert client.submit().status_code == 200
    shown = operator.get(f"/accounts/{ada}").json()
    assert (shown["num_queued"], shown["num_running"], shown["held"]) == (1, 0, 10)
    assert_on_record(services, "account.suspend", "account.suspend", "account.resume")


def test_the_same_order_happens_once(services: Services, operator: Operator) -> None:
    ada, bob = operator.create("ada"), operator.create("bob")
    order: dict[str, Any] = {"points": 40, "valid_days": 5}
    first = operator.post(f"/accounts/{ada}/points/grant", key="k1", **order)
    assert "Idempotent-Replayed" not in first.headers
    operator.post(f"/accounts/{ada}/points/grant", points=1, valid_days=1)
    again = operator.post(f"/accounts/{ada}/points/grant", key="k1", **order)
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    others: list[tuple[str, dict[str, Any]]] = [
        (f"/accounts/{ada}/points/grant", {**order, "points": 41}),
        (f"/accounts/{ada}/points/grant", {**order, "reason": "another"}),
        (f"/accounts/{bob}/points/grant", order),
        (f"/accounts/{ada}/points/correct", order),
        ("/accounts", {"name": "eve"}),
    ]
    for path, other in others:
        refused = operator.post(path, key="k1", **other)
        assert (refused.status_code, refused.json()["error"]["code"]) == (
            422,
            "idempotency_mismatch",
        )
    assert operator.get(f"/accounts/{ada}").json()["available"] == 101
    assert operator.get(f"/accounts/{bob}").json()["available"] == 60
    assert_on_record(services, "account.create", "account.create", "points.grant", "points.grant")


def test_accounts_and_codes_are_made_once(services: Services, operator: Operator) -> None:
    first = operator.post("/accounts", key="k1", name="ada", plan="plus")
    again = operator.post("/accounts", key="k1", name="ada", plan="plus")
    assert first.json() == again.json()
    assert first.json()["available"] == 560
    taken = operator.post("/accounts", name="ada")
    assert (taken.status_code, taken.json()["error"]["param"]) == (409, "name")
    code: dict[str, Any] = {
        "code": "SPRING-26",
        "points": 5,
        "valid_days": 2,
        "max_uses": 3,
        "usable_days": 1,
    }
    made = operator.post("/bonus-codes", key="k2", **code)
    assert made.status_code == 201
    assert made.json()["expires_at"].startswith("2026-11-23T00:00")
    assert operator.post("/bonus-codes", key="k2", **code).json() == made.json()
    assert operator.post("/bonus-codes", **code).status_code == 409
    assert_on_record(services, "account.create", "code.create")


def test_a_payment_counts_once(services: Services, operator: Operator) -> None:
    ada, bob = operator.create("ada"), operator.create("bob")
    order = {"pack": "pack", "payment_id": "pay-1"}
    assert operator.post(f"/accounts/{ada}/points/topup", **order).status_code == 200
    for account_id in (ada, bob):
        again = operator.post(f"/accounts/{account_id}/points/topup", **order)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "already_done")
        assert again.headers["x-should-retry"] == "false"
    assert_on_record(services, "account.create", "account.create", "points.topup")


def test_orders_sent_together_happen_once_each(services: Services, operator: Operator) -> None:
    ids = [operator.create(name) for name in ("ada", "bob")]
    answers: list[int] = []

    def send(number: int) -> None:
        path = f"/accounts/{ids[number % 2]}/points/grant"
        key = f"k{number % 6}"
        answers.append(operator.post(path, key=key, points=1, valid_days=1).status_code)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12
    assert [operator.get(f"/accounts/{each}").json()["available"] for each in ids] == [63, 63]
    assert_on_record(services, *["account.create"] * 2, *["points.grant"] * 6)


def test_the_log_is_written_by_one_at_a_time(services: Services, operator: Operator) -> None:
    """Two accounts share no lock but the log's: the second order waits for the first's commit."""
    ada, bob = operator.create("ada"), operator.create("bob")
    plans, now = services.configuration.plans, services.clock.now()
    started = threading.Event()
    failures: list[Exception] = []

    def suspend(account_id: str, connection: Connection) -> None:
        order, signature = Suspend(reason="a test"), Signature("somebody", account_id)
        change_account(connection, account_id, order, signature, plans=plans, now=now)

    def second() -> None:
        started.set()
        try:
            with services.database.write() as connection:
                suspend(bob, connection)
        except DBAPIError as error:
            failures.append(error)

    thread = threading.Thread(target=second)
    with services.database.write() as connection:
        suspend(ada, connection)
        thread.start()
        assert started.wait(20)
        if not services.database.is_sqlite:
            wait_until(lambda: num_waiting(services))
    thread.join()
    assert failures == []
    assert_on_record(services, *["account.create"] * 2, *["account.suspend"] * 2)


def num_waiting(services: Services) -> int:
    """Connections that wait for a lock."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with services.database.read() as connection:
        return int(connection.execute(query).scalar_one())


@SQLITE
@pytest.mark.parametrize("value", [0, -1, 12.5, "12", True, 1_000_000_001, 10**30, None])
def test_an_amount_is_a_whole_number(operator: Operator, value: Any) -> None:
    ada = operator.create("ada")
    refused = operator.post(f"/accounts/{ada}/points/grant", points=value, valid_days=1)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["param"], error["limit"]) == ("points", {"min": 1, "max": 1_000_000_000})
    assert error["value"] == repr(value)
    assert operator.get(f"/accounts/{ada}").json()["available"] == 60


@SQLITE
@pytest.mark.parametrize(
    ("path", "fields", "status", "param"),
    [
        ("/plan", {"plan": "gold"}, 400, "plan"),
        ("/plan", {"plan": "plus", "num_periods": 0}, 400, "num_periods"),
        ("/points/topup", {"pack": "none", "payment_id": "p"}, 400, "pack"),
        ("/points/correct", {"points": 0}, 400, "points"),
        ("/points/correct", {"points": -61}, 400, "points"),
        ("/points/grant", {"points": 1, "valid_days": 1, "reason": " "}, 400, "reason"),
        ("/points/grant", {"points": 1, "valid_days": 1, "reason": "x" * 501}, 400, "reason"),
        ("/points/grant", {"points": 1, "valid_days": 1, "reason": "a\x00b"}, 400, "reason"),
        ("/points/grant", {"points": 1, "valid_days": 1, "note": "x"}, 400, "note"),
        ("/points/grant", {"points": 1}, 400, "valid_days"),
    ],
)
def test_a_wrong_order_is_refused_by_name(
    services: Services,
    operator: Operator,
    path: str,
    fields: dict[str, Any],
    status: int,
    param: str,
) -> None:
    ada = operator.create("ada")
    refused = operator.post(f"/accounts/{ada}{path}", **fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)
    assert_on_record(services, "account.create")


@SQLITE
def test_an_unknown_plan_is_answered_with_the_known_ones(operator: Operator) -> None:
    ada = operator.create("ada")
    error = operator.post(f"/accounts/{ada}/plan", plan="gold").json()["error"]
    assert (error["limit"], error["value"]) == (["free", "plus", "top"], "gold")
    assert operator.post("/accounts", name="bob", plan="gold").status_code == 400


@SQLITE
def test_an_unknown_account_is_not_found(operator: Operator) -> None:
    assert operator.get("/accounts/acc_none").status_code == 404
    assert operator.get("/accounts/acc_none/statement").status_code == 404
    assert operator.post("/accounts/acc_none/suspend").status_code == 404
    too_long = operator.post("/accounts", key="x" * 101, name="ada")
    assert (too_long.status_code, too_long.json()["error"]["param"]) == (400, "Idempotency-Key")


@SQLITE
def test_only_admin_keys_open_it(
    http: TestClient, operator: Operator, make_key: Callable[[str, Scope], str]
) -> None:
    client = Operator(http, make_key("ada", Scope.CLIENT))
    for answer in (client.get("/accounts"), client.post("/accounts", name="x"), client.get("/log")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "permission_denied")
    assert Operator(http, "rg_nothing").get("/export").status_code == 401
    [root] = operator.get("/accounts", params={"name": "root"}).json()["data"]
    assert operator.post(f"/accounts/{root['id']}/suspend").status_code == 200
    assert operator.post(f"/accounts/{root['id']}/resume").status_code == 403


def test_statements_and_the_export(
    services: Services, operator: Operator, clock: ManualClock
) -> None:
    ada, _bob = operator.create("ada"), operator.create("bob")
    operator.post(f"/accounts/{ada}/points/grant", points=5, valid_days=9, reason="sorry, ada")
    lines = operator.get(f"/accounts/{ada}/statement").json()["data"]
    assert [(line["available"], line["balance_after"]) for line in lines] == [(5, 65), (60, 60)]
    sheet = operator.get(f"/accounts/{ada}/statement", params={"format": "csv"})
    assert sheet.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(sheet.text)))
    assert [(row["reason"], row["balance_after"]) for row in rows] == [
        ("sorry, ada", "65"),
        ("", "60"),
    ]
    assert operator.get(f"/accounts/{ada}/statement", params={"format": "xml"}).status_code == 400

    def exported() -> dict[str, tuple[str, str, str]]:
        found = csv.DictReader(io.StringIO(operator.get("/export").text))
        return {row["name"]: (row["available"], row["daily"], row["bonus"]) for row in found}

    assert exported() == {
        "root": ("0", "0", "0"),
        "ada": ("65", "60", "5"),
        "bob": ("60", "60", "0"),
    }
    clock.advance(days=1)
    assert exported() == {"root": ("0", "0", "0"), "ada": ("5", "0", "5"), "bob": ("0", "0", "0")}
    page = operator.get("/accounts", params={"limit": 2}).json()
    rest = operator.get("/accounts", params={"after": page["last_id"]}).json()
    names = [each["name"] for each in page["data"] + rest["data"]]
    assert sorted(names) == ["ada", "bob", "root"]
    assert (page["has_more"], rest["has_more"]) == (True, False)


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (update(admin_log).where(admin_log.c.id == 2).values(reason="nothing"), 2),
        (update(admin_log).where(admin_log.c.id == 2).values(details={"order": {}}), 2),
        (update(admin_log).where(admin_log.c.id == 3).values(previous_sha256=NO_HASH), 3),
        (delete(admin_log).where(admin_log.c.id == 1), 2),
        (delete(admin_log).where(admin_log.c.id == 3), 4),
        (text("UPDATE admin_log SET actor = 'nobody' WHERE id >= 2"), 2),
    ],
)
def test_a_changed_log_is_noticed(
    services: Services, operator: Operator, change: Any, broken: int
) -> None:
    ada = operator.create("ada")
    for number in range(3):
        operator.post(f"/accounts/{ada}/points/grant", points=number + 1, valid_days=1)
    before = operator.get("/audit").json()
    assert (before["is_green"], before["log"]["num_rows"]) == (True, 4)
    with services.database.write() as connection:
        connection.execute(change)
    after = operator.get("/audit").json()
    assert (after["is_green"], after["log"]["first_broken"]) == (False, broken)
    assert after["breaches"] == []


def test_a_changed_balance_is_noticed(services: Services, operator: Operator) -> None:
    ada = operator.create("ada")
    with services.database.write() as connection:
        connection.execute(update(lot).values(granted=1060, available=1060))
    answer = operator.get("/audit").json()
    assert not answer["is_green"]
    assert [each["rule"][:2] for each in answer["breaches"]] == ["I2"]
    with services.database.read() as connection:
        assert connection.execute(select(account.c.id).where(account.c.id == ada)).one()


def test_the_log_tells_who_did_what_and_why(operator: Operator) -> None:
    ada = operator.create("ada")
    operator.create("bob")
    operator.post(f"/accounts/{ada}/points/grant", points=5, valid_days=9, reason="  sorry ")
    page = operator.get("/log", params={"limit": 1}).json()
    [line] = page["data"]
    assert (line["action"], line["reason"], line["account_id"]) == ("points.grant", "sorry", ada)
    assert line["actor"].startswith("key key_")
    assert line["details"]["order"]["points"] == 5
    assert page["has_more"]
    older = operator.get("/log", params={"after": page["last_id"], "account_id": ada}).json()
    assert [each["action"] for each in older["data"]] == ["account.create"]
