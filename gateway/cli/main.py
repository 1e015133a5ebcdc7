"""The `reelgate` command line: every command in one place, each loaded only when it is called.

So `reelgate worker` runs on a host without the server's packages, and the other way round.
Commands of other packages are found through the entry-point group `reelgate.commands`: the
gateway names none of them.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from models.configfile import ConfigError

PLUGIN_GROUP = "reelgate.commands"
OWN_COMMANDS = {
    "serve": "gateway.cli.serve:serve",
    "migrate": "gateway.cli.serve:migrate",
    "admin": "gateway.cli.admin:admin",
    "check-config": "gateway.cli.config:check_config",
    "price": "gateway.cli.price:price",
    "simulate": "gateway.cli.simulate:simulate_trace",
    "demo": "gateway.cli.local:demo",
    "up": "gateway.cli.local:up",
    "health": "gateway.cli.local:health",
}
_EXIT_BAD_CONFIG = 3


class _LazyGroup(TyperGroup):
    """A group that imports a command when it is asked for."""

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        return [*OWN_COMMANDS, *sorted(_plugins())]

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        target = (OWN_COMMANDS | _plugins()).get(cmd_name)
        if target is None:
            return None
        try:
            loaded = _load(target)
        except ModuleNotFoundError as error:
            loaded = _needs_more(cmd_name, error.name)
        command = typer.main.get_command(_as_app(loaded))
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_LazyGroup,
    help="Reelgate: an open video-generation serving gateway.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Typer needs something to hang the group on."""


def main() -> None:
    """Entry point: a mistake in a configuration file is a message, not a traceback."""
    try:
        app()
    except ConfigError as error:
        typer.echo(str(error), err=True)
        sys.exit(_EXIT_BAD_CONFIG)


def _plugins() -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=PLUGIN_GROUP)}


def _load(target: str) -> Any:  # noqa: ANN401 -- a function or a Typer
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _as_app(command: Any) -> typer.Typer:  # noqa: ANN401 -- a function or a Typer
    if isinstance(command, typer.Typer):
        return command
    single = typer.Typer(add_completion=False)
    single.command()(command)
    return single


def _needs_more(name: str, missing: str | None) -> Callable[[], None]:
    """A command in place of one whose packages are not installed."""

    def explain() -> None:
        typer.echo(
            f"`{name}` needs {missing}, which is not installed: "
            "pip install 'reelgate[server]' or 'reelgate[worker]'",
            err=True,
        )
        raise typer.Exit(1)

    explain.__doc__ = f"Not installed here ({missing} is missing)."
    return explain
