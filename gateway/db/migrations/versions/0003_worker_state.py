"""What a worker says of itself, and whether an operator has drained it.

Revision: 0003, after 0002. Drains were flags in Redis before; they have to be ordered again.
"""

import sqlalchemy as sa
from alembic import op


revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "worker",
        sa.Column("is_draining", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("worker", sa.Column("unfit_reason", sa.Text(), nullable=True))
    op.add_column(
        "worker",
        sa.Column("loaded_models", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
    )


def downgrade() -> None:
    with op.batch_alter_table("worker") as batch:
        batch.drop_column("loaded_models")
        batch.drop_column("unfit_reason")
        batch.drop_column("is_draining")
