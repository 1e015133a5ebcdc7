"""The `reelgate` command line: every command in one place, each loaded only when it is called.

Commands that need torch live in other packages and are found through the entry-point group
`reelgate.commands`, so that the gateway names none of them.
"""

import sys
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from gateway.cli.admin import admin
from gateway.cli.local import demo, health, up
from gateway.cli.serve import migrate, serve
from models.configfile import ConfigError

PLUGIN_GROUP = "reelgate.commands"
_EXIT_BAD_CONFIG = 3


class _PluginGroup(TyperGroup):
    """A group whose further commands come from installed packages."""

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        plugins = [point.name for point in entry_points(group=PLUGIN_GROUP)]
        return [*super().list_commands(ctx), *sorted(plugins)]

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        known = super().get_command(ctx, cmd_name)
        found = [point for point in entry_points(group=PLUGIN_GROUP) if point.name == cmd_name]
        if known is not None or not found:
            return known
        try:
            command = typer.main.get_command(found[0].load())
        except ModuleNotFoundError as error:
            typer.echo(
                f"`{cmd_name}` needs a part that is not installed ({error.name}): "
                "pip install 'reelgate[worker]'",
                err=True,
            )
            raise typer.Exit(1) from None
        command.name = cmd_name
        return command


app = typer.Typer(
    cls=_PluginGroup,
    help="Reelgate: an open video-generation serving gateway.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(serve)
app.command()(migrate)
app.command()(demo)
app.command()(up)
app.command()(health)
app.add_typer(admin, name="admin")


def main() -> None:
    """Entry point: a mistake in a configuration file is a message, not a traceback."""
    try:
        app()
    except ConfigError as error:
        typer.echo(str(error), err=True)
        sys.exit(_EXIT_BAD_CONFIG)
