"""The log of what operators did: append-only, every row sealed with the hash of the one before.

A changed, inserted or removed row breaks the chain from there on. Rows cut off at the end leave a
shorter chain that is whole: keep the newest hash elsewhere to notice that.

Lock order: an account's row first, then the log. One writer at a time holds the log, until its
transaction ends.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from gateway.db.tables import admin_log

NO_HASH = "0" * 64
"""What the first row names as the hash before it."""

# Any number that no other advisory lock of this database uses.
_ADVISORY_LOCK = 0x7265656C


class Action(StrEnum):
    """What an operator did."""

    ACCOUNT_CREATE = "account.create"
    ACCOUNT_SUSPEND = "account.suspend"
    ACCOUNT_RESUME = "account.resume"
    PLAN_SET = "plan.set"
    POINTS_GRANT = "points.grant"
    POINTS_TOPUP = "points.topup"
    POINTS_CORRECT = "points.correct"
    CODE_CREATE = "code.create"
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    JOB_REQUEUE = "job.requeue"
    WORKER_DRAIN = "worker.drain"
    WORKER_UNDRAIN = "worker.undrain"


@dataclass(frozen=True)
class Entry:
    """What is to be logged. `details` is JSON-ready, without floating-point numbers."""

    key: str
    actor: str
    action: Action
    account_id: str | None
    reason: str
    details: dict[str, Any]


@dataclass(frozen=True)
class LogLine:
    """One row of the log."""

    id: int
    at: datetime
    entry: Entry
    previous_sha256: str
    sha256: str


@dataclass(frozen=True)
class LogCheck:
    """Whether the chain holds.

    Attributes:
        num_rows: rows in the log.
        head: hash of the newest row; keep it elsewhere to notice a cut.
        first_broken: id of the first row that is not as it was written, or None.
        why: what is wrong with it.
    """

    num_rows: int
    head: str
    first_broken: int | None = None
    why: str | None = None


def lock_log(connection: Connection) -> None:
    """Be the only one who appends, until the transaction ends. After the account's lock.

    On SQLite every transaction that writes is alone anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))


def append(connection: Connection, entry: Entry, *, now: datetime) -> None:
    """Add a row. Call `lock_log` before, in the same transaction."""
    last = connection.execute(
        select(admin_log.c.id, admin_log.c.sha256).order_by(admin_log.c.id.desc()).limit(1)
    ).one_or_none()
    previous = last.sha256 if last else NO_HASH
    number = last.id + 1 if last else 1
    connection.execute(
        insert(admin_log).values(
            id=number,
            key=entry.key,
            at=now,
            actor=entry.actor,
            action=entry.action,
            account_id=entry.account_id,
            reason=entry.reason,
            details=entry.details,
            previous_sha256=previous,
            sha256=_seal(number, now, entry, previous),
        )
    )


def find_entry(connection: Connection, key: str) -> Entry | None:
    """What was logged under `key`; None if nothing was."""
    row = connection.execute(select(admin_log).where(admin_log.c.key == key)).one_or_none()
    return None if row is None else _line(row).entry


def list_log(
    connection: Connection, *, before: int | None, limit: int, account_id: str | None = None
) -> list[LogLine]:
    """Rows older than the row `before`, the newest first."""
    query = select(admin_log).order_by(admin_log.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(admin_log.c.id < before)
    if account_id is not None:
        query = query.where(admin_log.c.account_id == account_id)
    return [_line(row) for row in connection.execute(query)]


def verify_log(connection: Connection) -> LogCheck:
    """Read all of the log and find the first row that is not as it was written."""
    num_rows, head = 0, NO_HASH
    first_broken, why = None, None
    rows = connection.execute(
        select(admin_log).order_by(admin_log.c.id), execution_options={"yield_per": 500}
    )
    for row in rows:
        num_rows += 1
        wrong = _what_is_wrong(row, num_rows, head)
        if wrong and first_broken is None:
            first_broken, why = row.id, wrong
        head = row.sha256
    return LogCheck(num_rows, head, first_broken, why)


def _what_is_wrong(row: Row[Any], number: int, previous: str) -> str | None:
    if row.id != number:
        return f"row {number} is missing"
    if row.previous_sha256 != previous:
        return "it does not follow the row before it"
    line = _line(row)
    if row.sha256 != _seal(line.id, line.at, line.entry, line.previous_sha256):
        return "its content is not what its hash was made of"
    return None


def _line(row: Row[Any]) -> LogLine:
    entry = Entry(
        key=row.key,
        actor=row.actor,
        action=row.action,
        account_id=row.account_id,
        reason=row.reason,
        details=row.details,
    )
    return LogLine(row.id, row.at, entry, row.previous_sha256, row.sha256)


def _seal(number: int, at: datetime, entry: Entry, previous: str) -> str:
    """SHA-256 of the canonical JSON of everything in the row, and so of every row before it."""
    content = [
        number,
        entry.key,
        at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.actor,
        entry.action,
        entry.account_id,
        entry.reason,
        entry.details,
        previous,
    ]
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
