"""Every table, as SQLAlchemy Core. Rows are plain; rules live in the services.

A job's hold and the lots it draws on are checked twice: by the services, and by the constraints
here, so that a bug or a race ends in an error and never in a wrong balance.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)
from typing_extensions import override

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant. SQLite keeps no zone, so it is stored as UTC there and read back aware."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the database")
        return value.astimezone(UTC)

    @override
    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        instant: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return instant.astimezone(UTC)


# SQLite numbers rows by itself only in a column it calls INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")
MAX_ROW_ID = 2**63 - 1
Id = String(40)
Points = BigInteger

account = Table(
    "account",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("plan", String(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("suspended_at", UtcDateTime),
    # The last calendar day with a daily grant: a clock that steps back grants nothing twice.
    Column("last_daily_on", Date),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("account.id"), nullable=False, index=True),
    Column("secret_sha256", String(64), nullable=False, unique=True),
    Column("hint", String(16), nullable=False),
    Column("scope", String(8), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

job = Table(
    "job",
    metadata,
    Column("id", Id, primary_key=True),
    Column("account_id", Id, ForeignKey("account.id"), nullable=False),
    Column("state", String(10), nullable=False),
    Column("pool", String(32), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("model", String(64), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("client_metadata", JSON, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("worker", String(128)),
    Column("lease_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Column("error_code", String(32)),
    Column("error_message", Text),
    Column("rendered", JSON),
    CheckConstraint(
        "state IN ('queued', 'running', 'succeeded', 'failed', 'canceled')", name="state"
    ),
    CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease"),
    Index("ix_job_claim", "pool", "state", "id"),
    # Only running jobs have a lease. An index that leads with `state` would tempt PostgreSQL to
    # read everybody's queued jobs, when its statistics come from a time when none waited.
    Index(
        "ix_job_lease",
        "lease_until",
        sqlite_where=text("lease_until IS NOT NULL"),
        postgresql_where=text("lease_until IS NOT NULL"),
    ),
    Index("ix_job_account", "account_id", "id"),
    # The oldest waiting job of a lane; also how many jobs of an account wait or run.
    Index("ix_job_lane", "account_id", "state", "pool", "id"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("job_id", Id, ForeignKey("job.id"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("worker", String(128), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("outcome", String(10)),
    Column("error_code", String(32)),
    # Device-seconds that its lane was charged when it was claimed, and jobs of that claim.
    Column("charged_s", Float),
    Column("num_batched", Integer),
)

# Where the accounts of a plan stand in the fair queue of a pool. See `gateway.jobs.lanes`.
tier_lane = Table(
    "tier_lane",
    metadata,
    Column("pool", String(32), primary_key=True),
    Column("tier", String(32), primary_key=True),
    Column("pass_s", Float, nullable=False),
    # Virtual time among the tiers of the pool, and among the tier's accounts, at its last service.
    Column("pool_time_s", Float, nullable=False),
    Column("time_s", Float, nullable=False),
)

account_lane = Table(
    "account_lane",
    metadata,
    Column("account_id", Id, ForeignKey("account.id"), primary_key=True),
    Column("pool", String(32), primary_key=True),
    Column("tier", String(32), nullable=False),
    # Whether a job of it waits and may run.
    Column("is_waiting", Boolean, nullable=False),
    Column("pass_s", Float, nullable=False),
    Index("ix_account_lane_next", "pool", "tier", "is_waiting", "pass_s", "account_id"),
)

# Measured device-seconds of one job, as moving averages.
duration = Table(
    "duration",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("kind", String(32), primary_key=True),
    Column("size", String(16), primary_key=True),
    Column("num_frames", Integer, primary_key=True),
    Column("num_inference_steps", Integer, primary_key=True),
    Column("fps", Integer, primary_key=True),
    Column("mode", String(32), primary_key=True),
    Column("is_guided", Boolean, primary_key=True),
    Column("mean_s", Float, nullable=False),
    Column("deviation_s", Float, nullable=False),
    Column("num_measured", Integer, nullable=False),
)

# Workers by what they said last. See `gateway.jobs.workers`.
worker = Table(
    "worker",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("pool", String(32), nullable=False),
    Column("loaded_model", String(64)),
    Column("room", Integer, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    # An operator's order: it gets no more jobs, however often it starts anew.
    Column("is_draining", Boolean, nullable=False, server_default=false()),
    # Why it cannot render, and what it keeps on its device, as it said last.
    Column("unfit_reason", Text),
    Column("loaded_models", JSON, nullable=False, server_default=text("'[]'")),
    Index("ix_worker_pool", "pool", "last_seen_at"),
)

artifact = Table(
    "artifact",
    metadata,
    Column("job_id", Id, ForeignKey("job.id"), primary_key=True),
    Column("role", String(16), primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("content_type", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("account_id", Id, ForeignKey("account.id"), primary_key=True),
    Column("key", String(300), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("job_id", Id, ForeignKey("job.id"), nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)

# A bought plan. Without a row the account is on the default plan.
subscription = Table(
    "subscription",
    metadata,
    Column("account_id", Id, ForeignKey("account.id"), primary_key=True),
    Column("plan", String(32), nullable=False),
    # The day of the purchase; every period is counted from it. The number of the current one.
    Column("anchor_on", Date, nullable=False),
    Column("period", Integer, nullable=False),
    Column("period_ends_at", UtcDateTime, nullable=False),
    # What the next period begins with; and how many periods there are, if not without end.
    Column("next_plan", String(32)),
    Column("num_periods", Integer),
    CheckConstraint("period >= 0 AND num_periods >= 1", name="periods"),
)

bonus_code = Table(
    "bonus_code",
    metadata,
    Column("code", String(64), primary_key=True),
    Column("points", Points, nullable=False),
    Column("valid_days", Integer, nullable=False),
    Column("max_uses", Integer, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("points > 0 AND uses >= 0 AND uses <= max_uses", name="uses"),
)

LIVE_LOT = "available > 0 OR held > 0"

# Points granted together, with one expiry. The four amounts are a checked cache of the entries.
lot = Table(
    "lot",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("account_id", Id, ForeignKey("account.id"), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("grant_key", String(120), nullable=False, unique=True),
    Column("priority", Integer, nullable=False),
    Column("granted", Points, nullable=False),
    Column("available", Points, nullable=False),
    Column("held", Points, nullable=False),
    Column("spent", Points, nullable=False),
    Column("expired", Points, nullable=False),
    Column("revoked", Points, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    CheckConstraint(
        "available >= 0 AND held >= 0 AND spent >= 0 AND expired >= 0 AND revoked >= 0",
        name="not_negative",
    ),
    CheckConstraint("granted = available + held + spent + expired + revoked", name="adds_up"),
    # Each day leaves a dead lot behind; what is drawn from are the few that live.
    Index(
        "ix_lot_live",
        "account_id",
        "priority",
        "expires_at",
        "id",
        sqlite_where=text(LIVE_LOT),
        postgresql_where=text(LIVE_LOT),
    ),
)

# One per job: what was set aside, and what became of it.
hold = Table(
    "hold",
    metadata,
    Column("job_id", Id, ForeignKey("job.id"), primary_key=True),
    Column("account_id", Id, ForeignKey("account.id"), nullable=False),
    Column("points", Points, nullable=False),
    Column("charged", Points),
    Column("price_version", String(16), nullable=False),
    Column("breakdown", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    CheckConstraint("points >= 0 AND charged >= 0 AND charged <= points", name="charge"),
    CheckConstraint("(charged IS NULL) = (closed_at IS NULL)", name="closed"),
)

ledger_tx = Table(
    "ledger_tx",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("key", String(160), nullable=False, unique=True),
    Column("account_id", Id, ForeignKey("account.id"), nullable=False, index=True),
    Column("job_id", Id, ForeignKey("job.id")),
    Column("reason", Text),
    Column("at", UtcDateTime, nullable=False),
    CheckConstraint(
        "kind IN ('grant', 'hold', 'settle', 'refund', 'expire', 'revoke')", name="kind"
    ),
    # However many workers, sweeps and clients race: one hold and one end of it per job.
    Index(
        "uq_ledger_tx_one_hold",
        "job_id",
        unique=True,
        sqlite_where=text("kind = 'hold'"),
        postgresql_where=text("kind = 'hold'"),
    ),
    Index(
        "uq_ledger_tx_one_end",
        "job_id",
        unique=True,
        sqlite_where=text("kind IN ('settle', 'refund')"),
        postgresql_where=text("kind IN ('settle', 'refund')"),
    ),
)

# Append-only double entries: within one transaction the amounts sum to zero.
ledger_entry = Table(
    "ledger_entry",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("tx_id", RowId, ForeignKey("ledger_tx.id"), nullable=False),
    Column("lot_id", RowId, ForeignKey("lot.id"), nullable=False, index=True),
    Column("book", String(9), nullable=False),
    Column("amount", Points, nullable=False),
    UniqueConstraint("tx_id", "lot_id", "book"),
    CheckConstraint(
        "book IN ('issued', 'available', 'held', 'spent', 'expired', 'revoked')", name="book"
    ),
)

# What operators did, append-only: each row seals the one before it with a hash.
admin_log = Table(
    "admin_log",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=False),
    # The same order sent again is known by its key.
    Column("key", String(100), nullable=False, unique=True),
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("action", String(32), nullable=False),
    Column("account_id", Id, ForeignKey("account.id"), index=True),
    Column("reason", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Column("previous_sha256", String(64), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
)
