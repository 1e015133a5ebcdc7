"""The fair queue: lanes of tiers and accounts, measured durations, workers.

Revision: 0002, after 0001. Lanes are filled when the gateway starts.
"""

import sqlalchemy as sa
from alembic import op


revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tier_lane",
        sa.Column("pool", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=32), nullable=False),
        sa.Column("pass_s", sa.Float(), nullable=False),
        sa.Column("pool_time_s", sa.Float(), nullable=False),
        sa.Column("time_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("pool", "tier", name=op.f("pk_tier_lane")),
    )
    op.create_table(
        "account_lane",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("pool", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=32), nullable=False),
        sa.Column("is_waiting", sa.Boolean(), nullable=False),
        sa.Column("pass_s", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_account_lane_account_id_account")
        ),
        sa.PrimaryKeyConstraint("account_id", "pool", name=op.f("pk_account_lane")),
    )
    op.create_index(
        "ix_account_lane_next",
        "account_lane",
        ["pool", "tier", "is_waiting", "pass_s", "account_id"],
        unique=False,
    )
    op.create_table(
        "duration",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("size", sa.String(length=16), nullable=False),
        sa.Column("num_frames", sa.Integer(), nullable=False),
        sa.Column("num_inference_steps", sa.Integer(), nullable=False),
        sa.Column("mean_s", sa.Float(), nullable=False),
        sa.Column("deviation_s", sa.Float(), nullable=False),
        sa.Column("num_measured", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "model",
            "kind",
            "size",
            "num_frames",
            "num_inference_steps",
            name=op.f("pk_duration"),
        ),
    )
    op.create_table(
        "worker",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("pool", sa.String(length=32), nullable=False),
        sa.Column("loaded_model", sa.String(length=64), nullable=True),
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )
    op.create_index("ix_worker_pool", "worker", ["pool", "last_seen_at"], unique=False)
    op.add_column("attempt", sa.Column("charged_s", sa.Float(), nullable=True))
    op.add_column("attempt", sa.Column("num_batched", sa.Integer(), nullable=True))
    op.create_index(
        "ix_job_lane", "job", ["account_id", "state", "pool", "id"], unique=False
    )
    op.drop_index("ix_job_account_state", table_name="job")


def downgrade() -> None:
    op.create_index("ix_job_account_state", "job", ["account_id", "state"], unique=False)
    op.drop_index("ix_job_lane", table_name="job")
    with op.batch_alter_table("attempt") as batch:
        batch.drop_column("num_batched")
        batch.drop_column("charged_s")
    op.drop_table("worker")
    op.drop_table("duration")
    op.drop_table("account_lane")
    op.drop_table("tier_lane")
