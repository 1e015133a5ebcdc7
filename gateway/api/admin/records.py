"""`/admin/v1`: what is on record. Statements, the export, the audit and the log."""

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from gateway.admin.accounts import get_state, iterate_balances
from gateway.admin.log import LogLine, list_log, verify_log
from gateway.admin.reports import export_csv, statement_csv
from gateway.api.deps import AdminDep, ServicesDep
from gateway.db.tables import MAX_ROW_ID
from gateway.domain.points import TxKind
from gateway.points.audit import audit
from gateway.points.statement import list_lines
from gateway.services import Services

router = APIRouter(prefix="/admin/v1", tags=["admin"])
_CSV = "text/csv"


class StatementFormat(StrEnum):
    """How a statement is written."""

    JSON = "json"
    CSV = "csv"


class StatementLine(BaseModel):
    """One transaction; the changes are signed."""

    id: int
    kind: TxKind
    job_id: str | None
    reason: str | None
    at: datetime
    available: int
    held: int
    spent: int
    balance_after: int


class Statement(BaseModel):
    """All of an account's ledger, the newest first."""

    object: Literal["list"] = "list"
    data: list[StatementLine]


class BreachObject(BaseModel):
    """A rule of the ledger that does not hold."""

    rule: str
    detail: str


class LogCheckObject(BaseModel):
    """Whether the log is as it was written; keep `head` elsewhere to notice a cut."""

    num_rows: int
    head: str
    first_broken: int | None
    why: str | None


class AuditObject(BaseModel):
    """Everything that can be proved about the books."""

    object: Literal["audit"] = "audit"
    is_green: bool
    breaches: list[BreachObject]
    log: LogCheckObject


class LogObject(BaseModel):
    """One line of the log."""

    id: int
    object: Literal["log.line"] = "log.line"
    at: datetime
    actor: str
    action: str
    account_id: str | None
    reason: str
    key: str
    details: dict[str, Any]
    sha256: str


class LogPage(BaseModel):
    """A page of the log, the newest first; `last_id` is the next `after`."""

    object: Literal["list"] = "list"
    data: list[LogObject]
    last_id: int | None
    has_more: bool


@router.get(
    "/accounts/{account_id}/statement",
    response_model=Statement,
    responses={200: {"content": {_CSV: {}}}},
)
def get_statement(
    account_id: str,
    _admin: AdminDep,
    services: ServicesDep,
    form: Annotated[StatementFormat, Query(alias="format")] = StatementFormat.JSON,
) -> Statement | Response:
    """All that moved an account's points."""
    with services.database.read() as connection:
        get_state(connection, account_id)
        lines = list_lines(connection, account_id)
    if form is StatementFormat.CSV:
        return _download(statement_csv(lines), f"statement-{account_id}.csv")
    return Statement(data=[StatementLine(**dataclasses.asdict(line)) for line in lines])


@router.get("/export", response_class=Response, responses={200: {"content": {_CSV: {}}}})
def get_export(_admin: AdminDep, services: ServicesDep) -> Response:
    """Every account and its points as CSV, sent while it is read."""
    return _download(_export(services), "accounts.csv")


@router.get("/audit")
def get_audit(_admin: AdminDep, services: ServicesDep) -> AuditObject:
    """Check every rule of the ledger, and the chain of the log. Reads all of both."""
    with services.database.read() as connection:
        breaches = list(audit(connection))
        log = verify_log(connection)
    return AuditObject(
        is_green=not breaches and log.first_broken is None,
        breaches=[BreachObject(**dataclasses.asdict(breach)) for breach in breaches],
        log=LogCheckObject(**dataclasses.asdict(log)),
    )


@router.get("/log")
def get_log(
    _admin: AdminDep,
    services: ServicesDep,
    after: Annotated[int | None, Query(ge=1, le=MAX_ROW_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    account_id: str | None = None,
) -> LogPage:
    """What operators did, the newest first."""
    with services.database.read() as connection:
        lines = list_log(connection, before=after, limit=limit + 1, account_id=account_id)
    page = [_log_object(line) for line in lines[:limit]]
    return LogPage(data=page, last_id=page[-1].id if page else None, has_more=len(lines) > limit)


def _export(services: Services) -> Iterator[str]:
    with services.database.read() as connection:
        yield from export_csv(iterate_balances(connection, now=services.clock.now()))


def _download(rows: Iterator[str], name: str) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(rows, media_type=_CSV, headers=headers)


def _log_object(line: LogLine) -> LogObject:
    return LogObject(
        id=line.id,
        at=line.at,
        sha256=line.sha256,
        **dataclasses.asdict(line.entry),
    )
