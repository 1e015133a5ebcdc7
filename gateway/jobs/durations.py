"""Measured render times in the database: what jobs are expected to cost, and what they did cost."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, tuple_, update

from gateway.db.tables import duration
from gateway.db.upsert import insert_if_new
from gateway.domain.durations import Duration, DurationKey, guess, learn

_KEY = tuple(duration.c[name] for name in DurationKey._fields)
_FIND = select(duration).where(tuple_(*_KEY).in_(bindparam("keys", expanding=True)))
# Enough to scale from; a model with more measured keys has the wanted one among them.
_MAX_KEYS_OF_A_MODEL = 200


def expect(connection: Connection, keys: Collection[DurationKey]) -> dict[DurationKey, Duration]:
    """What one job of each key is expected to take: measured, or guessed from its model."""
    wanted = sorted(set(keys))
    known = _find(connection, wanted)
    missing = [key for key in wanted if key not in known]
    for model in sorted({key.model for key in missing}):
        rows = connection.execute(
            select(duration).where(duration.c.model == model).limit(_MAX_KEYS_OF_A_MODEL)
        )
        measured = [(_key(row), _duration(row)) for row in rows]
        known |= {key: guess(key, measured) for key in missing if key.model == model}
    return known


def note(connection: Connection, key: DurationKey, measured_s: float) -> None:
    """Learn from a finished job. Takes the key's row as the last lock of a transaction."""
    where = [column == value for column, value in zip(_KEY, key, strict=True)]
    row = connection.execute(select(duration).where(*where).with_for_update()).one_or_none()
    learnt = learn(_duration(row) if row else None, measured_s)
    values = {
        "mean_s": learnt.mean_s,
        "deviation_s": learnt.deviation_s,
        "num_measured": learnt.num_measured,
    }
    if row is not None:
        connection.execute(update(duration).where(*where).values(values))
    else:
        # Of two that are first at once, one is enough.
        insert_if_new(connection, duration, [{**key._asdict(), **values}])


def _find(connection: Connection, keys: Collection[DurationKey]) -> dict[DurationKey, Duration]:
    if not keys:
        return {}
    rows = connection.execute(_FIND, {"keys": list(keys)})
    return {_key(row): _duration(row) for row in rows}


def _key(row: Row[Any]) -> DurationKey:
    return DurationKey(*(getattr(row, name) for name in DurationKey._fields))


def _duration(row: Row[Any]) -> Duration:
    return Duration(row.mean_s, row.deviation_s, row.num_measured)
