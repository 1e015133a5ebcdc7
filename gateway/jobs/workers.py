"""Workers as they said last how they stand, and which of them operators have drained.

Rows are written by heartbeats and claims. The row of a worker is the first lock of a transaction:
a claim and a drain of the same worker follow each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, false, select, update

from gateway.db.tables import worker
from gateway.db.upsert import insert_if_new
from gateway.protocol import HeartbeatRequest

_FORGET_AFTER = timedelta(days=7)


class WorkerState(StrEnum):
    """How a worker stands; of several that hold, the first of this list.

    Dead: silent for as long as a lease lives, be it killed, cut off or stopped. Unfit: it lives and
    cannot render.
    """

    DEAD = "dead"
    UNFIT = "unfit"
    DRAINING = "draining"
    BUSY = "busy"
    IDLE = "idle"


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
) -> bool:
    """The worker has asked for work, so it can render; whether it may have any."""
    said = {"loaded_model": loaded_model, "room": room, "unfit_reason": None}
    return not _note(connection, name, {"pool": pool, "last_seen_at": now, **said})


def note_model(connection: Connection, name: str, model: str) -> None:
    """The worker was given jobs of `model`, so that is what it has loaded next."""
    connection.execute(update(worker).where(worker.c.name == name).values(loaded_model=model))


def note_heartbeat(connection: Connection, beat: HeartbeatRequest, *, now: datetime) -> bool:
    """The worker lives, and says how it stands; whether it is to drain."""
    said: dict[str, Any] = {"loaded_models": beat.loaded_models, "unfit_reason": beat.unfit}
    if not beat.held:
        # While it holds jobs the claim knows better which model is next.
        said["loaded_model"] = beat.loaded_models[-1] if beat.loaded_models else None
    return _note(connection, beat.worker, {"pool": beat.pool, "last_seen_at": now, **said})


def find_draining(connection: Connection, name: str) -> bool | None:
    """Whether the worker is drained, under its lock; None if there is none of this name."""
    query = select(worker.c.is_draining).where(worker.c.name == name).with_for_update()
    found: bool | None = connection.execute(query).scalar()
    return found


def set_draining(connection: Connection, name: str, *, is_draining: bool) -> None:
    """Give the worker no more jobs, or jobs again."""
    values = {"is_draining": is_draining}
    connection.execute(update(worker).where(worker.c.name == name).values(values))


def list_live_workers(
    connection: Connection, pool: str, *, seen_since: datetime
) -> list[LiveWorker]:
    """Workers of the pool that were heard of lately and may be given jobs."""
    row = worker.c
    rows = connection.execute(
        select(row.name, row.loaded_model, row.room)
        .where(
            row.pool == pool,
            row.last_seen_at >= seen_since,
            row.is_draining == false(),
            row.unfit_reason.is_(None),
        )
        .order_by(row.name)
    )
    return [LiveWorker(*each) for each in rows]


def state_of(
    row: Any,  # noqa: ANN401 -- a row of `worker`
    running: Sequence[str],
    *,
    seen_since: datetime,
) -> WorkerState:
    """How a worker stands that runs these jobs."""
    if row.last_seen_at < seen_since:
        return WorkerState.DEAD
    if row.unfit_reason is not None:
        return WorkerState.UNFIT
    if row.is_draining:
        return WorkerState.DRAINING
    return WorkerState.BUSY if running else WorkerState.IDLE


def forget_silent_workers(connection: Connection, *, now: datetime) -> int:
    """Drop workers that are long gone; how many. A drained one stays until that is undone."""
    return connection.execute(
        delete(worker).where(
            worker.c.last_seen_at < now - _FORGET_AFTER, worker.c.is_draining == false()
        )
    ).rowcount


def _note(connection: Connection, name: str, values: dict[str, Any]) -> bool:
    """Write the worker's row, made if it is missing; whether it is draining."""
    change = (
        update(worker).where(worker.c.name == name).values(values).returning(worker.c.is_draining)
    )
    known: bool | None = connection.execute(change).scalar()
    if known is None:
        insert_if_new(connection, worker, [{"name": name, "room": 1, **values}])
    return bool(known)
