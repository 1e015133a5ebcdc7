"""`reelgate serve` and `reelgate migrate`."""

import os
import socket
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from alembic.util import CommandError
from typing_extensions import override

from gateway.app import create_app
from gateway.db.migrate import check, is_at_head, upgrade
from gateway.db.session import Database, DatabaseInUse, serve_alone
from gateway.services import Services, build_services
from gateway.settings import Settings, load_settings
from gateway.telemetry import configure_logging

CONFIG_DIR_VARIABLE = "REELGATE_CONFIG_DIR"


def config_dir() -> Path:
    """Where the YAML files are: `REELGATE_CONFIG_DIR`, or `configs` here."""
    return Path(os.environ.get(CONFIG_DIR_VARIABLE, "configs"))


def serve(
    *, migrate_first: Annotated[bool, typer.Option("--migrate", help="Migrate first.")] = False
) -> None:
    """Run the gateway."""
    settings = load_settings(config_dir())
    configure_logging(settings.log_format)
    services = build_services(settings)
    _refuse_taken_port(settings)
    try:
        with serve_alone(services.database):
            if migrate_first:
                upgrade(services.database)
            if not is_at_head(services.database):
                typer.echo("the database is not migrated: run `reelgate migrate` first", err=True)
                raise typer.Exit(1)
            config = uvicorn.Config(
                create_app(services),
                host=settings.host,
                port=settings.port,
                log_config=None,
                timeout_graceful_shutdown=10,
            )
            _Server(config, services).run()
    except DatabaseInUse as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


class _Server(uvicorn.Server):
    """Ends open event streams before it waits for requests to end; they would outlast it."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.live.end()
        await super().shutdown(sockets)


def migrate(
    *,
    check_only: Annotated[
        bool, typer.Option("--check", help="Only prove that migrations and tables agree.")
    ] = False,
) -> None:
    """Bring the database to the newest schema."""
    if check_only:
        _check_migrations()
        return
    database = Database(load_settings(config_dir()).database_url)
    upgrade(database)
    database.close()


def _check_migrations() -> None:
    """Run every migration on an empty database, and compare with the tables."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/check.db")
        upgrade(database)
        try:
            check(database)
        except CommandError as error:
            typer.echo(f"migrations and tables differ: {error}", err=True)
            raise typer.Exit(1) from None
        finally:
            database.close()
    typer.echo("migrations and tables agree")


def _refuse_taken_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            typer.echo(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
                "choose another with REELGATE_PORT",
                err=True,
            )
            raise typer.Exit(1) from None
