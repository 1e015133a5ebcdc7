"""What the `reelgate admin` commands share: the services, who orders, and friendly refusals."""

import getpass
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import structlog
import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from gateway.admin.accounts import AccountState
from gateway.admin.once import Done, Signature
from gateway.admin.orders import MAX_POINTS
from gateway.cli.serve import config_dir
from gateway.domain.errors import GatewayError
from gateway.services import Services, build_services, close_services
from gateway.settings import load_settings

_MAX_NAME_CHARS = 64

AccountArgument = Annotated[str, typer.Argument(metavar="ACCOUNT", help="An id or a name.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is logged.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="The same order under the same key happens once.")
]
PointsOption = Annotated[int, typer.Option("--points", help=f"From 1 to {MAX_POINTS}.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@contextmanager
def open_services() -> Iterator[Services]:
    """The parts of a gateway; a refusal ends the command with one line and exit code 1.

    Logs go to stderr: stdout is the answer.
    """
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
    services = build_services(load_settings(config_dir()))
    try:
        yield services
    except GatewayError as error:
        fail(error.message)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
        fail(f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}")
    except DBAPIError as error:
        fail(
            f"the database did not take this ({str(error.orig).splitlines()[0]}); "
            "is it migrated? `reelgate migrate`"
        )
    finally:
        close_services(services)


def sign(key: str | None) -> Signature:
    """Whoever is logged in here, under `key` or a random one."""
    actor = f"shell {getpass.getuser()[:_MAX_NAME_CHARS]}"
    return Signature(actor, secrets.token_hex(16) if key is None else key)


def show_done(done: Done[AccountState], *, as_json: bool) -> None:
    """Print the account after an order."""
    if done.is_replay:
        typer.echo("done before under this key; nothing happened now", err=True)
    show_state(done.result, as_json=as_json)


def show_state(state: AccountState, *, as_json: bool) -> None:
    """Print an account."""
    if as_json:
        typer.echo(state.model_dump_json())
        return
    suspended_at = state.suspended_at
    lots = [
        f"{each.kind} {each.available}"
        + (f" until {show_instant(each.expires_at)}" if each.expires_at else "")
        for each in state.lots
    ]
    rows = {
        "name": state.name,
        "plan": _plan(state),
        "status": f"suspended since {show_instant(suspended_at)}" if suspended_at else "active",
        "points": f"{state.available} available, {state.held} held",
        "lots": "; ".join(lots) or "none",
        "jobs": f"{state.num_queued} waiting, {state.num_running} running",
    }
    typer.echo("\n".join([state.id, *(f"  {key:8} {value}" for key, value in rows.items())]))


def show_instant(instant: datetime) -> str:
    """An instant as a person reads it, in UTC."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def fail(message: str) -> NoReturn:
    """End the command with one line and exit code 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _plan(state: AccountState) -> str:
    bought = state.subscription
    if bought is None:
        return state.plan
    then = f", then {bought.next_plan}" if bought.next_plan else ""
    return f"{state.plan}, period ends {show_instant(bought.period_ends_at)}{then}"
