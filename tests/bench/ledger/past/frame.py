"""What rows of all tables share: how many, when, whose; and the words of SQL that differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    Integer,
    MetaData,
    Table,
    case,
    cast,
    column,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.sql.dml import Insert

from gateway.db.tables import Id, UtcDateTime
from gateway.ids import _ALPHABET, _TIME_CHARS, ACCOUNT_PREFIX, JOB_PREFIX, lowest_id
from tests.bench.ledger.workload import Workload

SPAN = timedelta(days=180)
RENDER = timedelta(seconds=60)
LOTS_PER_ACCOUNT = 4
FAILED_EVERY = 10  # of the jobs of one account

# Every job with what the rows about it repeat, so that it is worked out once.
seed = Table(
    "seed",
    MetaData(),
    Column("n", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("id", Id),
    Column("account_id", Id),
    Column("created_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("is_failed", Integer),
    prefixes=["TEMPORARY"],
)

Number = ColumnElement[int]


@dataclass(frozen=True)
class Frame:
    """The past of a database whose present is `now`."""

    num_jobs: int
    num_accounts: int
    workload: Workload
    now: datetime
    is_sqlite: bool

    @property
    def start(self) -> datetime:
        """When it began."""
        return self.now - SPAN

    @property
    def points(self) -> int:
        """What each job cost."""
        return self.workload.prices.quote(self.workload.spec).points

    @property
    def num_lots(self) -> int:
        """Lots of all accounts."""
        return self.num_accounts * LOTS_PER_ACCOUNT

    def account_ids(self) -> list[str]:
        """Every account."""
        prefix = lowest_id(ACCOUNT_PREFIX, self.start)
        return [f"{prefix}{number:016x}" for number in range(self.num_accounts)]

    def account_id(self, number: Number) -> ColumnElement[str]:
        """The id of account `number`, in SQL."""
        return literal(lowest_id(ACCOUNT_PREFIX, self.start)) + self.hex16(number)

    def seeds(self) -> Insert:
        """Fills `seed`."""
        numbers = self.series(self.num_jobs)
        n = numbers.c.n
        step_ms = milliseconds(SPAN) // self.num_jobs
        made_ms = n * step_ms + int(self.start.timestamp() * 1000)
        turn = n // self.num_accounts % FAILED_EVERY
        return rows(
            seed,
            numbers,
            n=n,
            id=literal(f"{JOB_PREFIX}_") + _base32(made_ms) + self.hex16(n),
            account_id=self.account_id(n % self.num_accounts),
            created_at=self.instant(made_ms),
            ended_at=self.instant(made_ms + milliseconds(RENDER)),
            is_failed=case((turn == FAILED_EVERY - 1, 1), else_=0),
        )

    def num_settled(self, number: Number) -> Number:
        """How many jobs of account `number` succeeded, in SQL."""
        num_jobs = (self.num_jobs - 1 - number + self.num_accounts) // self.num_accounts
        return num_jobs - num_jobs // FAILED_EVERY

    def series(self, count: int) -> FromClause:
        """The numbers from 0 on, `count` (> 0) of them, as `n`."""
        if not self.is_sqlite:
            bounds = (literal(0, BigInteger), literal(count - 1, BigInteger))
            return (
                func.generate_series(*bounds).table_valued(column("n", BigInteger)).render_derived()
            )
        counted = select(literal(0, BigInteger).label("n")).cte("numbers", recursive=True)
        return counted.union_all(select(counted.c.n + 1).where(counted.c.n < count - 1))

    def hex16(self, number: Number) -> ColumnElement[str]:
        """16 digits that sort as the number does."""
        if self.is_sqlite:
            return func.printf("%016x", number)
        return func.lpad(func.to_hex(number), 16, "0")

    def instant(self, unix_ms: Number) -> ColumnElement[Any]:
        """A point in time as the database keeps it."""
        if not self.is_sqlite:
            return func.to_timestamp(unix_ms / 1000.0)
        return func.strftime("%Y-%m-%d %H:%M:%f", unix_ms / 1000.0, "unixepoch") + literal("000")


def rows(table: Table, source: FromClause, **values: object) -> Insert:
    """Fills `table` with one row for each of `source`."""
    columns = [
        value if isinstance(value, ColumnElement) else literal(value, table.c[name].type)
        for name, value in values.items()
    ]
    return insert(table).from_select(list(values), select(*columns).select_from(source))


def pick(number: Number, values: Sequence[Any]) -> ColumnElement[Any]:
    """The value at the place `number` (0 and up)."""
    return case(*((number == place, value) for place, value in enumerate(values)))


def milliseconds(span: timedelta) -> int:
    """A span in whole milliseconds."""
    return span // timedelta(milliseconds=1)


def _base32(number: Number) -> ColumnElement[str]:
    """The time in an id, as `gateway.ids` writes it."""
    digits = [
        func.substr(_ALPHABET, cast(number // 32**place % 32 + 1, Integer), 1)
        for place in reversed(range(_TIME_CHARS))
    ]
    text: ColumnElement[str] = literal("")
    for digit in digits:
        text += digit
    return text
