"""`reelgate check-config`, and how the other tools read a folder of configuration.

Only the YAML files are read: no variable of the environment is needed, and nothing is opened.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gateway.domain.config_check import ConfigWarning, find_warnings, pools
from gateway.domain.plans import Plans, load_plans
from gateway.domain.pricing import PriceList, load_prices
from gateway.settings import GatewayFile
from models.catalog import Catalog, load_catalog
from models.configfile import ConfigError, load_yaml_as

EXIT_BAD_CONFIG = 3
_LoadedT = TypeVar("_LoadedT")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", envvar="REELGATE_CONFIG_DIR", help="Folder of the YAML files."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DEFAULT_FOLDER = Path("configs")


@dataclass(frozen=True)
class ConfigFiles:
    """The four files of one folder."""

    gateway: GatewayFile
    catalog: Catalog
    plans: Plans
    prices: PriceList


def check_config(*, config: ConfigOption = DEFAULT_FOLDER, as_json: JsonOption = False) -> None:
    """Check the configuration: mistakes end with exit code 3, warnings do not."""
    try:
        files = read_files(config)
    except ConfigError as error:
        if as_json:
            _show_json(error.problems, [], None)
        else:
            typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_BAD_CONFIG) from None
    warnings = find_warnings(
        files.catalog,
        files.plans,
        files.prices,
        file_url_ttl_s=files.gateway.file_url_ttl_s,
        today=files.plans.day_of(datetime.now(UTC)),
    )
    if as_json:
        _show_json([], warnings, files)
    else:
        _show(warnings, files)


def read_files(folder: Path) -> ConfigFiles:
    """The files of `folder`.

    Raises:
        ConfigError: with every mistake of every file.
    """
    problems: list[str] = []

    def gather(load: Callable[[], _LoadedT]) -> _LoadedT | None:
        try:
            return load()
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    gateway = gather(lambda: load_yaml_as(folder / "gateway.yaml", GatewayFile))
    catalog = gather(lambda: load_catalog(folder / "models.yaml"))
    plans = gather(lambda: load_plans(folder / "plans.yaml"))
    prices = gather(lambda: _prices(folder / "pricing.yaml", catalog))
    if gateway is None or catalog is None or plans is None or prices is None:
        raise ConfigError(problems)
    return ConfigFiles(gateway, catalog, plans, prices)


def _prices(path: Path, catalog: Catalog | None) -> PriceList:
    """The price list; without usable models it is checked for itself alone."""
    return load_prices(path, catalog) if catalog else load_yaml_as(path, PriceList)


def _show(warnings: list[ConfigWarning], files: ConfigFiles) -> None:
    for warning in warnings:
        typer.echo(f"warning: {warning.where}: {warning.message}")
    for pool, models in pools(files.catalog).items():
        typer.echo(f"pool {pool}: {', '.join(models)} (needs workers with --pool {pool})")
    typer.echo(f"ok, {len(warnings)} warnings, price version {files.prices.version}")


def _show_json(
    problems: list[str], warnings: list[ConfigWarning], files: ConfigFiles | None
) -> None:
    result = {
        "ok": not problems,
        "problems": problems,
        "warnings": [dataclasses.asdict(warning) for warning in warnings],
        "pools": pools(files.catalog) if files else None,
        "price_version": files.prices.version if files else None,
    }
    typer.echo(json.dumps(result))
