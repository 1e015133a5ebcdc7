"""The command `reelgate models`: what is served, and its weights: list, pull, verify."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.card import BUILTIN_PREFIX, ModelCard
from models.catalog import load_catalog
from models.weights import find_broken, find_problem, read_manifest

app = typer.Typer(help="The served models and their weights.", no_args_is_help=True)

ConfigDir = Annotated[
    Path, typer.Option(envvar="REELGATE_CONFIG_DIR", help="The folder with models.yaml.")
]
Ids = Annotated[
    list[str] | None, typer.Argument(help="Ids of model cards; all with a source if left out.")
]


@app.command("list")
def list_models(*, config_dir: ConfigDir = Path("configs")) -> None:
    """Every card: licence and its limits, revision, size, and whether its weights are here."""
    table = Table("model", "adapter", "licence", "limits", "from", "MB", "GPU, at least", "here")
    for card in load_catalog(config_dir / "models.yaml").models:
        manifest = read_manifest(card.checkpoint_path(Path.cwd()))
        table.add_row(
            card.id,
            card.adapter,
            card.licence,
            card.licence_limits or "-",
            str(card.source or card.checkpoint or "-"),
            f"{manifest.size_bytes / 1e6:.1f}" if manifest else "-",
            _least_memory(card),
            _state(card),
        )
    Console().print(table)


@app.command()
def pull(ids: Ids = None, *, config_dir: ConfigDir = Path("configs")) -> None:
    """Bring weights from the hub, at the card's revision. Never needed at run time."""
    # Late: the hub's client takes a while to import.
    from models.weights.pull import PullError
    from models.weights.pull import pull as pull_card

    for card in _chosen(ids, config_dir):
        if card.licence_limits:
            typer.echo(f"note: {card.id} is {card.licence}: {card.licence_limits}")
        try:
            manifest = pull_card(card, typer.echo)
        except PullError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from error
        size_mb = manifest.size_bytes / 1e6
        folder = card.checkpoint_path(Path.cwd())
        typer.echo(f"{card.id}: {len(manifest.files)} files, {size_mb:.1f} MB, are in {folder}")


@app.command()
def verify(ids: Ids = None, *, config_dir: ConfigDir = Path("configs")) -> None:
    """Read every pulled file and compare its digest. Exits with 1 where one is wrong."""
    wrong = {card.id: found for card in _chosen(ids, config_dir) if (found := _find_wrong(card))}
    for model, found in wrong.items():
        typer.echo("\n".join(f"{model}: {each}" for each in found), err=True)
    if wrong:
        typer.echo(f"run `reelgate models pull {' '.join(wrong)}`", err=True)
        raise typer.Exit(1)


def _least_memory(card: ModelCard) -> str:
    """What the weights alone take of a GPU: all of them, and the largest part."""
    sizes = card.weights_bytes.values()
    if not sizes:
        return "-"
    return f"{sum(sizes) / 1e9:.1f} GB, offloaded {max(sizes) / 1e9:.1f}"


def _find_wrong(card: ModelCard) -> list[str]:
    """What is wrong with the weights of `card`; says how many files are right."""
    folder = card.checkpoint_path(Path.cwd())
    manifest = read_manifest(folder)
    if manifest is None:
        return [f"nothing was pulled to {folder}"]
    if card.source is not None and manifest.revision != card.source.revision:
        return [f"{folder} is revision {manifest.revision[:12]}, not that of {card.source}"]
    broken = find_broken(folder, manifest, card)
    typer.echo(f"{card.id}: {len(set(manifest.files) - set(broken))} files are as pulled")
    return [f"{folder / name}: {why}" for name, why in broken.items()]


def _chosen(ids: list[str] | None, config_dir: Path) -> list[ModelCard]:
    """The cards with these ids, or every one with a source."""
    catalog = load_catalog(config_dir / "models.yaml")
    if not ids:
        return [card for card in catalog.models if card.source is not None]
    chosen = []
    for name in ids:
        card = catalog.find(name)
        if card is None or card.source is None:
            known = ", ".join(card.id for card in catalog.models if card.source) or "none"
            typer.echo(f"{name} is no model with a source; there are {known}", err=True)
            raise typer.Exit(2)
        chosen.append(card)
    return chosen


def _state(card: ModelCard) -> str:
    if card.source is not None:
        return "no" if find_problem(card) else "yes"
    if not card.checkpoint:
        return "-"
    is_builtin = card.checkpoint.startswith(BUILTIN_PREFIX)
    return "yes" if is_builtin or card.checkpoint_path(Path.cwd()).is_dir() else "no"
