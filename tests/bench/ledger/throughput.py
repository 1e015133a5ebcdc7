"""Submits per second, against the same statements through the bare driver."""

from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from gateway.db.session import Database
from gateway.db.tables import metadata
from tests.bench.ledger.backends import Backend
from tests.bench.ledger.figures import Figures, summarise
from tests.bench.ledger.replay import Transaction, connect, play, record
from tests.bench.ledger.workload import Latency, Request, Workload, send


@dataclass(frozen=True)
class Throughput:
    """Both sides. `num_statements`: of the median transaction, BEGIN and COMMIT apart."""

    ours: Figures
    raw: Figures
    num_statements: int

    @property
    def ratio(self) -> float:
        """Our rate, the bare driver's being 1."""
        return self.ours.per_s / self.raw.per_s


def measure_throughput(
    backend: Backend, source: str, rounds: list[list[Request]], workload: Workload
) -> Throughput:
    """Submit `rounds` on one copy of the database `source`, and replay them on another.

    The first round is for warming up. Rounds alternate, and so does which side goes first.
    """
    for copy in ("recorded", "ours", "raw"):
        backend.copy(source, copy)
    every = [request for each in rounds for request in each]
    script = iter(record(backend.url("recorded"), every, workload))
    scripts = [[next(script) for _ in each] for each in rounds]
    ours, raw = _alternate(backend, rounds, scripts, workload)
    if _count_rows(backend.url("ours")) != _count_rows(backend.url("raw")):
        raise RuntimeError("the replay did not do what submit did")
    for copy in ("recorded", "ours", "raw"):
        backend.drop(copy)
    lengths = sorted(len(transaction) for each in scripts for transaction in each)
    has_begin = int(backend.name == "sqlite")
    return Throughput(summarise(ours), summarise(raw), lengths[len(lengths) // 2] - has_begin)


def _alternate(
    backend: Backend,
    rounds: list[list[Request]],
    scripts: list[list[Transaction]],
    workload: Workload,
) -> tuple[list[list[Latency]], list[list[Latency]]]:
    ours: list[list[Latency]] = []
    raw: list[list[Latency]] = []
    with (
        closing(Database(backend.url("ours"))) as database,
        closing(connect(backend.url("raw"))) as connection,
    ):
        for number, (requests, script) in enumerate(zip(rounds, scripts, strict=True)):
            if number % 2:
                raw.append([play(connection, transaction) for transaction in script])
            ours.append([send(database, request, workload) for request in requests])
            if not number % 2:
                raw.append([play(connection, transaction) for transaction in script])
    return ours[1:], raw[1:]


def _count_rows(url: str) -> dict[str, int]:
    def count(connection: Connection, table: str) -> int:
        query = select(func.count()).select_from(metadata.tables[table])
        return int(connection.execute(query).scalar_one())

    with closing(Database(url)) as database, database.read() as connection:
        return {table: count(connection, table) for table in metadata.tables}
