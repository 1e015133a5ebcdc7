"""The worker side of `reelgate`; the gateway finds these commands as entry points."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from workers.media.label import REQUIRED_FIELDS, LabelMissing, read_label
from workers.media.probe import UnreadableMedia

if TYPE_CHECKING:
    from workers.settings import WorkerSettings

label = typer.Typer(
    no_args_is_help=True, help="The label that marks a file as generated (GB 45438-2025)."
)


worker = typer.Typer(help="Run a worker host, or ask whether one is alive.")


@label.callback()
def _label() -> None:
    """Typer makes a lone command the program itself unless there is a callback."""


@label.command()
def check(
    file: Annotated[Path, typer.Argument(help="A video or a picture.", show_default=False)],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the label as JSON.")] = False,
) -> None:
    """Print the label in FILE. Exits with 1 where it is missing or broken, with 2 without FILE."""
    if not file.is_file():
        _fail(f"{file}: no such file", code=2)
    try:
        found = read_label(file)
    except (LabelMissing, UnreadableMedia) as error:
        _fail(str(error), code=1)
    if found is None:
        _fail(f"{file.name} carries no AIGC label", code=1)
    empty = [field for field in REQUIRED_FIELDS if not found.get(field)]
    if empty:
        _fail(f"{file.name}: its label lacks {', '.join(empty)}", code=1)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        typer.echo("\n".join(f"{field}: {value}" for field, value in found.items()))


@worker.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    *,
    pool: Annotated[str | None, typer.Option(help="Claim the jobs of this pool.")] = None,
    device: Annotated[str | None, typer.Option(help="Render on it: cpu, cuda:0, ...")] = None,
) -> None:
    """Serve deliveries until SIGTERM. REELGATE_* variables set everything, also these two."""
    if context.invoked_subcommand is not None:
        return
    # Late, so that asking for help or for a label starts quickly.
    from models.configfile import ConfigError
    from workers.host import run_host
    from workers.logs import configure_logging
    from workers.spool import SpoolInUse

    settings = _load_settings(pool=pool, device=device)
    configure_logging(settings.log_level)
    try:
        run_host(settings)
    except (ConfigError, SpoolInUse) as error:
        _fail(str(error), code=2)


@worker.command()
def health() -> None:
    """Exit with 0 if the worker of this spool folder is alive and can render, else with 1."""
    from workers.pulse import find_unfit, has_pulse
    from workers.settings import SpoolSettings

    spool_dir = SpoolSettings().spool_dir
    if not has_pulse(spool_dir):
        _fail("no sign of life within the last minute", code=1)
    if reason := find_unfit(spool_dir):
        _fail(reason, code=1)


def _load_settings(**given: str | None) -> "WorkerSettings":
    from workers.settings import WorkerSettings

    options: dict[str, Any] = {name: value for name, value in given.items() if value}
    try:
        return WorkerSettings(**options)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        lines = [f"REELGATE_{str(found['loc'][0]).upper()}: {found['msg']}" for found in problems]
        _fail("\n".join(lines), code=2)


def _fail(message: str, *, code: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)
