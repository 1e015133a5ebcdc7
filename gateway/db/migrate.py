"""Bring a database to the newest schema, and check that the schema is what the tables say."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.db.session import Database

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database, revision: str = "head") -> None:
    """Migrate `database` to `revision`; safe to run twice, and from several gateways at once."""
    command.upgrade(_config(database), revision)


def downgrade(database: Database, revision: str) -> None:
    """Take `database` back to `revision`."""
    command.downgrade(_config(database), revision)


def check(database: Database) -> None:
    """Make sure that the migrations end where `gateway.db.tables` stands.

    Raises:
        alembic.util.CommandError: they differ; the message lists how.
    """
    command.check(_config(database))


def is_at_head(database: Database) -> bool:
    """Whether `database` has every migration."""
    with database.read() as connection:
        current = MigrationContext.configure(connection).get_current_heads()
    return set(current) == set(ScriptDirectory.from_config(_config(database)).get_heads())


def _config(database: Database) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["database"] = database
    return config
