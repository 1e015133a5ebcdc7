"""Alembic's entry: runs the migrations on the database that `gateway.db.migrate` hands over."""

from alembic import context
from sqlalchemy import text

from gateway.db.session import Database
from gateway.db.tables import metadata

# Any constant of our own: two gateways that start together migrate one after the other.
_POSTGRES_LOCK = 7_305_811


def _run(database: Database) -> None:
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_POSTGRES_LOCK})"))
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=database.is_sqlite,
            compare_type=True,
            transaction_per_migration=False,
        )
        with context.begin_transaction():
            context.run_migrations()


_run(context.config.attributes["database"])
