"""`reelgate admin`: what operators do to accounts. Works with and without a gateway."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from gateway.accounts.service import create_key, ensure_account, revoke_key
from gateway.cli.serve import config_dir
from gateway.services import Services, build_services, close_services
from gateway.settings import load_settings

admin = typer.Typer(help="Accounts and keys.", no_args_is_help=True)
key = typer.Typer(help="API keys.", no_args_is_help=True)
admin.add_typer(key, name="key")

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@key.command("create")
def key_create(
    account: Annotated[str, typer.Option(help="Name of the account; created if it is new.")],
    *,
    as_json: _Json = False,
) -> None:
    """Create an API key. It is shown this once and kept only as a hash."""
    with _services() as services:
        now = services.clock.now()
        plan_id = services.configuration.plans.default.id
        with services.database.write() as connection:
            account_id = ensure_account(connection, account, plan_id=plan_id, now=now)
            secret = create_key(connection, account_id, now=now)
    if as_json:
        typer.echo(json.dumps({"account_id": account_id, "key": secret}))
    else:
        typer.echo(f"{secret}\nKey of account {account} ({account_id}); it is not shown again.")


@key.command("revoke")
def key_revoke(secret: Annotated[str, typer.Argument(metavar="KEY")]) -> None:
    """Make a key useless at once."""
    with _services() as services, services.database.write() as connection:
        revoked = revoke_key(connection, secret, now=services.clock.now())
    typer.echo("revoked" if revoked else "no such key, or it was revoked before")
    if not revoked:
        raise typer.Exit(1)


@contextmanager
def _services() -> Iterator[Services]:
    services = build_services(load_settings(config_dir()))
    try:
        yield services
    finally:
        close_services(services)
