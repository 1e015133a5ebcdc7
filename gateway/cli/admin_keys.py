"""`reelgate admin key`: API keys."""

import json
from typing import Annotated

import typer

from gateway.accounts.service import Scope, ensure_account
from gateway.admin.keys import issue_key, withdraw_key
from gateway.admin.orders import CreateAccount, IssueKey, WithdrawKey
from gateway.cli.desk import JsonOption, fail, open_services, sign

key_app = typer.Typer(help="API keys.", no_args_is_help=True)
_Reason = Annotated[str | None, typer.Option("--reason", help="Why; it is logged.")]


@key_app.command("create")
def key_create(
    account: Annotated[str, typer.Option(help="Name of the account; created if it is new.")],
    *,
    scope: Annotated[
        Scope, typer.Option(help="client: the account's own things; admin: everybody's.")
    ] = Scope.CLIENT,
    reason: _Reason = None,
    as_json: JsonOption = False,
) -> None:
    """Create an API key. It is shown this once and kept only as a hash."""
    if scope is Scope.ADMIN and reason is None:
        fail("a key of scope admin opens everybody's things: say why with --reason")
    with open_services() as services:
        order = IssueKey(scope=scope, reason=reason or "a key for a client")
        # A new account's name is held to the rules of its own order.
        name = CreateAccount(name=account, reason=order.reason).name
        now = services.clock.now()
        plan_id = services.configuration.plans.default.id
        # In a transaction of its own: a new name that waits for the log would keep another order
        # for the same name, which holds the log, waiting for it.
        with services.database.write() as connection:
            account_id = ensure_account(connection, name, plan_id=plan_id, now=now)
        with services.database.write() as connection:
            secret = issue_key(connection, account_id, order, sign(None), now=now)
    if as_json:
        typer.echo(json.dumps({"account_id": account_id, "key": secret}))
    else:
        typer.echo(f"{secret}\nKey of account {account} ({account_id}); it is not shown again.")


@key_app.command("revoke")
def key_revoke(
    secret: Annotated[str, typer.Argument(metavar="KEY")], *, reason: _Reason = None
) -> None:
    """Make a key useless at once."""
    with open_services() as services, services.database.write() as connection:
        order = WithdrawKey(reason=reason or "revoked at the command line")
        revoked = withdraw_key(connection, secret, order, sign(None), now=services.clock.now())
    typer.echo("revoked" if revoked else "no such key, or it was revoked before")
    if not revoked:
        raise typer.Exit(1)
