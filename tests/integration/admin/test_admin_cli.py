"""The same orders from a shell; answers a person and a script can read."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from gateway.db.session import Database

Shell = Callable[..., Any]
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
WHY = ("--reason", "a test")


def done(shell: Shell, *words: str) -> Any:
    """The JSON a command prints."""
    answer = shell(*words, "--json")
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def refused(shell: Shell, *words: str) -> str:
    """The one line a command ends with."""
    answer = shell(*words)
    assert (answer.exit_code, answer.stdout) == (1, "")
    [line] = answer.stderr.splitlines()
    return str(line)


def change(database_url: str, statement: str) -> None:
    """Meddle with the rows."""
    database = Database(database_url)
    with database.write() as connection:
        connection.execute(text(statement))
    database.close()


def test_an_account_through_its_life(shell: Shell) -> None:
    ada = done(shell, "account", "create", "ada", *WHY)["id"]
    assert done(shell, "plan", "set", "ada", "plus", "--periods", "2", *WHY)["available"] == 560
    grant = ("points", "grant", ada, "--points", "7", "--valid-days", "3", *WHY)
    assert done(shell, *grant, "--key", "k1")["available"] == 567
    assert done(shell, *grant, "--key", "k1")["available"] == 567
    topup = ("points", "topup", "ada", "--pack", "pack", "--payment", "p1", *WHY)
    assert done(shell, *topup)["available"] == 667
    assert "payment p1" in refused(shell, *topup)
    assert done(shell, "points", "correct", "ada", "--points", "-67", *WHY)["available"] == 600
    assert done(shell, "account", "suspend", "ada", *WHY)["suspended_at"] is not None
    assert done(shell, "account", "resume", "ada", *WHY)["suspended_at"] is None
    assert done(shell, "account", "show", ada)["plan"] == "plus"
    assert len(done(shell, "statement", "ada")["data"]) == 5
    code = ("code", "create", "SPRING-26", "--points", "5", *WHY)
    assert done(shell, *code)["max_uses"] == 1
    assert shell("audit").stdout == "audit: green\n"
    assert done(shell, "log", "verify")["num_rows"] == 8


@SQLITE
def test_what_a_person_reads(shell: Shell) -> None:
    shell("account", "create", "ada", *WHY)
    shown = shell("account", "show", "ada").stdout
    assert "plan     free" in shown
    assert "points   60 available, 0 held" in shown
    assert "grant" in shell("statement", "ada").stdout
    assert shell("statement", "ada", "--csv").stdout.startswith("id,kind,job_id,reason,at,")
    assert shell("export").stdout.splitlines()[1].endswith(",ada,free,,60,0,0,60,0,0,0")
    assert "account.create" in shell("log", "show").stdout
    assert shell("log", "verify").stdout.startswith("log: green, 1 rows, newest hash ")


@SQLITE
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("account", "show", "nobody"), "no account 'nobody'"),
        (("account", "create", "ada", *WHY), "there is an account 'ada' already"),
        (("plan", "set", "ada", "gold", *WHY), "there are free, plus, top"),
        (("points", "grant", "ada", "--points", "0", *WHY), "points: must be a whole number"),
        (("points", "grant", "ada", "--points", "9", "--reason", " "), "reason: "),
        (("points", "correct", "ada", "--points", "-61", *WHY), "61 points cannot be taken"),
        (("code", "create", "lower", "--points", "1", *WHY), "code: "),
        (("key", "create", "--account", "ada", "--scope", "admin"), "--reason"),
        (("key", "create", "--account", "a\nb"), "name: "),
        (("statement", "ada", "--json", "--csv"), "not both"),
    ],
)
def test_a_refusal_is_one_line(shell: Shell, words: tuple[str, ...], says: str) -> None:
    shell("account", "create", "ada", *WHY)
    assert says in refused(shell, *words)
    assert done(shell, "account", "show", "ada")["available"] == 60


@SQLITE
def test_a_write_needs_a_reason(shell: Shell) -> None:
    answer = shell("account", "create", "ada")
    assert answer.exit_code == 2
    assert "--reason" in answer.stderr


@SQLITE
def test_an_amount_with_a_fraction_is_no_amount(shell: Shell) -> None:
    answer = shell("points", "grant", "ada", "--points", "12.5", *WHY)
    assert answer.exit_code == 2
    assert "valid integer" in answer.stderr


def test_a_broken_book_is_printed(shell: Shell, database_url: str) -> None:
    shell("account", "create", "ada", *WHY)
    change(database_url, "UPDATE lot SET granted = 61, spent = 1")
    answer = shell("audit")
    assert answer.exit_code == 1
    assert answer.stdout.startswith("I2 a lot differs from its entries: ")


def test_a_changed_log_is_named(shell: Shell, database_url: str) -> None:
    for name in ("ada", "bob", "eve"):
        shell("account", "create", name, *WHY)
    change(database_url, "UPDATE admin_log SET reason = 'else' WHERE id = 2")
    for words in (("log", "verify"), ("audit",)):
        answer = shell(*words)
        assert answer.exit_code == 1
        assert answer.stdout == "log: row 2: its content is not what its hash was made of\n"


@SQLITE
def test_keys_are_logged_without_the_key(shell: Shell) -> None:
    made = done(shell, "key", "create", "--account", "root", "--scope", "admin", *WHY)
    assert shell("key", "revoke", made["key"]).stdout == "revoked\n"
    assert shell("key", "revoke", made["key"]).exit_code == 1
    log = shell("log", "show", "--json").stdout
    assert made["key"] not in log
    revoked, created = json.loads(log)["data"]
    assert revoked["entry"]["action"] == "key.revoke"
    assert created["entry"]["details"]["scope"] == "admin"


@SQLITE
def test_a_database_without_tables_is_named(shell: Shell, database_url: str) -> None:
    change(database_url, "DROP TABLE admin_log")
    assert "is it migrated?" in refused(shell, "account", "create", "ada", *WHY)
