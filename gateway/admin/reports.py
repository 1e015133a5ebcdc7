"""Statements and exports as CSV, line by line, so that no file is ever held whole."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator
from datetime import datetime

from gateway.admin.accounts import AccountBalance
from gateway.points.statement import Line

STATEMENT_COLUMNS = tuple(field.name for field in dataclasses.fields(Line))
EXPORT_COLUMNS = tuple(AccountBalance.model_fields)


def statement_csv(lines: Iterable[Line]) -> Iterator[str]:
    """An account's ledger, one transaction a line, under a head line."""
    return _csv(STATEMENT_COLUMNS, lines)


def export_csv(balances: Iterable[AccountBalance]) -> Iterator[str]:
    """Accounts and their points, one account a line, under a head line."""
    return _csv(EXPORT_COLUMNS, balances)


def _csv(columns: tuple[str, ...], records: Iterable[object]) -> Iterator[str]:
    yield _row(columns)
    for record in records:
        yield _row(_cell(getattr(record, column)) for column in columns)


def _cell(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _row(cells: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
