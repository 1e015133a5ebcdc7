"""The first schema: accounts, keys, jobs, files, points, the log of what operators did.

Revision: 0001, after None.
"""

import sqlalchemy as sa
from alembic import op


revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("plan", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_daily_on", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("name", name=op.f("uq_account_name")),
    )
    op.create_table(
        "bonus_code",
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("valid_days", sa.Integer(), nullable=False),
        sa.Column("max_uses", sa.Integer(), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "points > 0 AND uses >= 0 AND uses <= max_uses", name=op.f("ck_bonus_code_uses")
        ),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_bonus_code")),
    )
    op.create_table(
        "admin_log",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=100), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("previous_sha256", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_admin_log_account_id_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_log")),
        sa.UniqueConstraint("key", name=op.f("uq_admin_log_key")),
        sa.UniqueConstraint("sha256", name=op.f("uq_admin_log_sha256")),
    )
    op.create_index(op.f("ix_admin_log_account_id"), "admin_log", ["account_id"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("hint", sa.String(length=16), nullable=False),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_api_key_account_id_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("secret_sha256", name=op.f("uq_api_key_secret_sha256")),
    )
    op.create_index(op.f("ix_api_key_account_id"), "api_key", ["account_id"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("pool", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("client_metadata", sa.JSON(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=32), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("rendered", sa.JSON(), nullable=True),
        sa.CheckConstraint(
            "(state = 'running') = (lease_until IS NOT NULL)", name=op.f("ck_job_lease")
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'canceled')",
            name=op.f("ck_job_state"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_job_account_id_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index("ix_job_account", "job", ["account_id", "id"], unique=False)
    op.create_index("ix_job_account_state", "job", ["account_id", "state"], unique=False)
    op.create_index("ix_job_claim", "job", ["pool", "state", "id"], unique=False)
    op.create_index(
        "ix_job_lease",
        "job",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_table(
        "lot",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("grant_key", sa.String(length=120), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=False),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.Column("expired", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "available >= 0 AND held >= 0 AND spent >= 0 AND expired >= 0 AND revoked >= 0",
            name=op.f("ck_lot_not_negative"),
        ),
        sa.CheckConstraint(
            "granted = available + held + spent + expired + revoked", name=op.f("ck_lot_adds_up")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_lot_account_id_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lot")),
        sa.UniqueConstraint("grant_key", name=op.f("uq_lot_grant_key")),
    )
    op.create_index(
        "ix_lot_live",
        "lot",
        ["account_id", "priority", "expires_at", "id"],
        unique=False,
        sqlite_where=sa.text("available > 0 OR held > 0"),
        postgresql_where=sa.text("available > 0 OR held > 0"),
    )
    op.create_table(
        "subscription",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("plan", sa.String(length=32), nullable=False),
        sa.Column("anchor_on", sa.Date(), nullable=False),
        sa.Column("period", sa.Integer(), nullable=False),
        sa.Column("period_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_plan", sa.String(length=32), nullable=True),
        sa.Column("num_periods", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "period >= 0 AND num_periods >= 1", name=op.f("ck_subscription_periods")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_subscription_account_id_account")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_subscription")),
    )
    op.create_table(
        "artifact",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("content_type", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_artifact_job_id_job")),
        sa.PrimaryKeyConstraint("job_id", "role", name=op.f("pk_artifact")),
        sa.UniqueConstraint("key", name=op.f("uq_artifact_key")),
    )
    op.create_table(
        "attempt",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=128), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=True),
        sa.Column("error_code", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_attempt_job_id_job")),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_attempt")),
    )
    op.create_table(
        "hold",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("charged", sa.BigInteger(), nullable=True),
        sa.Column("price_version", sa.String(length=16), nullable=False),
        sa.Column("breakdown", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(charged IS NULL) = (closed_at IS NULL)", name=op.f("ck_hold_closed")),
        sa.CheckConstraint(
            "points >= 0 AND charged >= 0 AND charged <= points", name=op.f("ck_hold_charge")
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_hold_account_id_account")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_hold_job_id_job")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_hold")),
    )
    op.create_table(
        "idempotency",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_idempotency_account_id_account")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_idempotency_job_id_job")),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_expires_at"), "idempotency", ["expires_at"], unique=False)
    op.create_table(
        "ledger_tx",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("key", sa.String(length=160), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('grant', 'hold', 'settle', 'refund', 'expire', 'revoke')",
            name=op.f("ck_ledger_tx_kind"),
        ),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_ledger_tx_account_id_account")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_ledger_tx_job_id_job")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_tx")),
        sa.UniqueConstraint("key", name=op.f("uq_ledger_tx_key")),
    )
    op.create_index(op.f("ix_ledger_tx_account_id"), "ledger_tx", ["account_id"], unique=False)
    op.create_index(
        "uq_ledger_tx_one_end",
        "ledger_tx",
        ["job_id"],
        unique=True,
        sqlite_where=sa.text("kind IN ('settle', 'refund')"),
        postgresql_where=sa.text("kind IN ('settle', 'refund')"),
    )
    op.create_index(
        "uq_ledger_tx_one_hold",
        "ledger_tx",
        ["job_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'hold'"),
        postgresql_where=sa.text("kind = 'hold'"),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("lot_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("book", sa.String(length=9), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "book IN ('issued', 'available', 'held', 'spent', 'expired', 'revoked')",
            name=op.f("ck_ledger_entry_book"),
        ),
        sa.ForeignKeyConstraint(["lot_id"], ["lot.id"], name=op.f("fk_ledger_entry_lot_id_lot")),
        sa.ForeignKeyConstraint(
            ["tx_id"], ["ledger_tx.id"], name=op.f("fk_ledger_entry_tx_id_ledger_tx")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint(
            "tx_id", "lot_id", "book", name=op.f("uq_ledger_entry_tx_id_lot_id_book")
        ),
    )
    op.create_index(op.f("ix_ledger_entry_lot_id"), "ledger_entry", ["lot_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_ledger_entry_lot_id"), table_name="ledger_entry")
    op.drop_table("ledger_entry")
    op.drop_index(
        "uq_ledger_tx_one_hold",
        table_name="ledger_tx",
        sqlite_where=sa.text("kind = 'hold'"),
        postgresql_where=sa.text("kind = 'hold'"),
    )
    op.drop_index(
        "uq_ledger_tx_one_end",
        table_name="ledger_tx",
        sqlite_where=sa.text("kind IN ('settle', 'refund')"),
        postgresql_where=sa.text("kind IN ('settle', 'refund')"),
    )
    op.drop_index(op.f("ix_ledger_tx_account_id"), table_name="ledger_tx")
    op.drop_table("ledger_tx")
    op.drop_index(op.f("ix_idempotency_expires_at"), table_name="idempotency")
    op.drop_table("idempotency")
    op.drop_table("hold")
    op.drop_table("attempt")
    op.drop_table("artifact")
    op.drop_table("subscription")
    op.drop_index("ix_lot_live", table_name="lot")
    op.drop_table("lot")
    op.drop_index("ix_job_lease", table_name="job")
    op.drop_index("ix_job_claim", table_name="job")
    op.drop_index("ix_job_account_state", table_name="job")
    op.drop_index("ix_job_account", table_name="job")
    op.drop_table("job")
    op.drop_index(op.f("ix_api_key_account_id"), table_name="api_key")
    op.drop_table("api_key")
    op.drop_index(op.f("ix_admin_log_account_id"), table_name="admin_log")
    op.drop_table("admin_log")
    op.drop_table("bonus_code")
    op.drop_table("account")
