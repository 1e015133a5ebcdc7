"""`reelgate admin statement | export | audit | log`: what is on record, and whether it holds."""

import dataclasses
import json
from typing import Annotated, Any

import typer

from gateway.admin.accounts import get_account_id, iterate_balances
from gateway.admin.log import LogCheck, list_log, verify_log
from gateway.admin.reports import export_csv, statement_csv
from gateway.cli.desk import AccountArgument, JsonOption, fail, open_services
from gateway.points.audit import audit as find_breaches
from gateway.points.statement import list_lines

log_app = typer.Typer(help="The log of what operators did.", no_args_is_help=True)


def add_records(admin: typer.Typer) -> None:
    """Put the commands of this file under `admin`."""
    admin.command("statement")(statement)
    admin.command("export")(export)
    admin.command("audit")(audit)
    admin.add_typer(log_app, name="log")


def statement(
    account: AccountArgument,
    *,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Print all that moved an account's points, the newest first."""
    if as_json and as_csv:
        fail("give --json or --csv, not both")
    with open_services() as services, services.database.read() as connection:
        account_id = get_account_id(connection, account)
        lines = list_lines(connection, account_id)
    if as_json:
        data = [_json_ready(line) for line in lines]
        typer.echo(json.dumps({"account_id": account_id, "data": data}))
    elif as_csv:
        for row in statement_csv(lines):
            typer.echo(row, nl=False)
    else:
        for line in lines:
            what = line.reason or line.job_id or ""
            typer.echo(
                f"{line.at:%Y-%m-%d %H:%M:%S}  {line.kind:7} {line.available:+10d} "
                f"{line.balance_after:10d}  {what}"
            )


def export() -> None:
    """Print every account and its points as CSV."""
    with open_services() as services, services.database.read() as connection:
        for row in export_csv(iterate_balances(connection, now=services.clock.now())):
            typer.echo(row, nl=False)


def audit(*, as_json: JsonOption = False) -> None:
    """Check every rule of the ledger and the chain of the log; exit code 1 if one is broken."""
    with open_services() as services, services.database.read() as connection:
        broken = [f"{breach.rule}: {breach.detail}" for breach in find_breaches(connection)]
        log = verify_log(connection)
    if log.first_broken is not None:
        broken.append(f"log: row {log.first_broken}: {log.why}")
    if as_json:
        result = {"is_green": not broken, "broken": broken, "log": dataclasses.asdict(log)}
        typer.echo(json.dumps(result))
    else:
        typer.echo("\n".join(broken) if broken else "audit: green")
    if broken:
        raise typer.Exit(1)


@log_app.command("verify")
def log_verify(*, as_json: JsonOption = False) -> None:
    """Find the first row of the log that is not as it was written; exit code 1 if there is one."""
    with open_services() as services, services.database.read() as connection:
        check = verify_log(connection)
    typer.echo(json.dumps(dataclasses.asdict(check)) if as_json else _verdict(check))
    if check.first_broken is not None:
        raise typer.Exit(1)


@log_app.command("show")
def log_show(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Newest rows.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Print the newest rows of the log."""
    with open_services() as services, services.database.read() as connection:
        lines = list_log(connection, before=None, limit=limit)
    if as_json:
        typer.echo(json.dumps({"data": [_json_ready(line) for line in lines]}))
        return
    for line in lines:
        entry = line.entry
        who = f"{entry.actor}  {entry.action}  {entry.account_id or '-'}"
        typer.echo(f"{line.id:6d}  {line.at:%Y-%m-%d %H:%M:%S}  {who}  {entry.reason}")


def _verdict(check: LogCheck) -> str:
    if check.first_broken is not None:
        return f"log: row {check.first_broken}: {check.why}"
    return f"log: green, {check.num_rows} rows, newest hash {check.head}"


def _json_ready(record: Any) -> dict[str, Any]:  # noqa: ANN401 -- any dataclass
    """Instants as text, the rest as it is."""
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(record), default=str))
    return fields
