"""Workers as the gateway last heard of them; the forecast counts them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, update

from gateway.db.tables import worker
from gateway.db.upsert import insert_if_new

_FORGET_AFTER = timedelta(days=7)


@dataclass(frozen=True)
class LiveWorker:
    """A worker that takes jobs. `room`: most jobs of one claim."""

    name: str
    loaded_model: str | None
    room: int


def note_claim(
    connection: Connection,
    name: str,
    *,
    pool: str,
    loaded_model: str | None,
    room: int,
    now: datetime,
) -> None:
    """The worker has asked for work. The first lock of a transaction."""
    values = {"pool": pool, "loaded_model": loaded_model, "room": room, "last_seen_at": now}
    known = connection.execute(update(worker).where(worker.c.name == name).values(values))
    if known.rowcount == 0:
        insert_if_new(connection, worker, [{"name": name, **values}])


def note_model(connection: Connection, name: str, model: str) -> None:
    """The worker was given jobs of `model`, so that is what it has loaded next."""
    connection.execute(update(worker).where(worker.c.name == name).values(loaded_model=model))


def note_heartbeat(connection: Connection, name: str, *, now: datetime) -> None:
    """The worker has renewed its leases. The first lock of a transaction."""
    connection.execute(update(worker).where(worker.c.name == name).values(last_seen_at=now))


def list_live_workers(
    connection: Connection, pool: str, *, seen_since: datetime, listening: Iterable[str]
) -> list[LiveWorker]:
    """Workers of the pool that were heard of lately, or that wait at the queue for a delivery."""
    rows = connection.execute(select(worker).where(worker.c.pool == pool)).all()
    waiting = set(listening)
    live = [
        LiveWorker(row.name, row.loaded_model, row.room)
        for row in rows
        if row.last_seen_at >= seen_since or row.name in waiting
    ]
    unknown = waiting - {row.name for row in rows}
    return sorted(
        [*live, *(LiveWorker(name, None, 1) for name in unknown)], key=lambda each: each.name
    )


def forget_silent_workers(connection: Connection, *, now: datetime) -> int:
    """Drop workers that are long gone; how many."""
    return connection.execute(
        delete(worker).where(worker.c.last_seen_at < now - _FORGET_AFTER)
    ).rowcount
