"""Measured durations by mode, rate and guidance, which all change how long a render takes.

Revision: 0004, after 0003. What was measured before stays under no mode: it is guessed from until
a job of a mode has been measured.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op


revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OLD_KEY = ("model", "kind", "size", "num_frames", "num_inference_steps")
_NEW_KEY = (*_OLD_KEY, "fps", "mode", "is_guided")


def upgrade() -> None:
    before = {"fps": 0, "mode": "", "is_guided": True}
    _replace(_NEW_KEY, [{**row, **before} for row in _take_all()])


def downgrade() -> None:
    # The averages with most behind them stand for all modes.
    rows = sorted(_take_all(), key=lambda row: row["num_measured"])
    kept = {tuple(row[name] for name in _OLD_KEY): row for row in rows}
    new = set(_NEW_KEY) - set(_OLD_KEY)
    _replace(
        _OLD_KEY,
        [{name: value for name, value in row.items() if name not in new} for row in kept.values()],
    )


def _take_all() -> list[dict[str, Any]]:
    connection = op.get_bind()
    table = sa.Table("duration", sa.MetaData(), autoload_with=connection)
    return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def _replace(key: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    """A table with `key` as its primary key, holding `rows`: no database adds to a key in place."""
    op.drop_table("duration")
    columns = {
        "model": sa.String(length=64),
        "kind": sa.String(length=32),
        "size": sa.String(length=16),
        "num_frames": sa.Integer(),
        "num_inference_steps": sa.Integer(),
        "fps": sa.Integer(),
        "mode": sa.String(length=32),
        "is_guided": sa.Boolean(),
    }
    table = op.create_table(
        "duration",
        *(sa.Column(name, columns[name], nullable=False) for name in key),
        sa.Column("mean_s", sa.Float(), nullable=False),
        sa.Column("deviation_s", sa.Float(), nullable=False),
        sa.Column("num_measured", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_duration")),
    )
    op.bulk_insert(table, rows)
