"""`reelgate simulate`: what a change of plans or prices does to a trace of requests."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.config import DEFAULT_FOLDER, ConfigFiles, ConfigOption, JsonOption, read_files
from gateway.domain.simulation import Devices, PlanResult, simulate
from gateway.domain.trace import COLUMNS, Request, TraceError, parse_trace, synthetic_trace

_TRACE_HELP = (
    f"CSV with a head line and the columns {', '.join(COLUMNS)}. "
    "at: ISO instant with its offset, such as 2026-01-05T08:00:00Z; account: any name; "
    "plan, model, mode: their names; kind: text_to_video or image_to_video; size: WIDTHxHEIGHT; "
    "seconds, fps: whole numbers; outcome: ok, failed or canceled."
)


def simulate_trace(
    *,
    trace: Annotated[Path | None, typer.Option(help=_TRACE_HELP)] = None,
    synthetic: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Make up this many requests.")
    ] = None,
    config: ConfigOption = DEFAULT_FOLDER,
    against: Annotated[
        Path | None, typer.Option(help="Folder of the configuration to compare with.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the made-up requests.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Devices that render.")] = 1,
    seconds_per_job: Annotated[float, typer.Option(min=0, help="Time of one job.")] = 30,
    as_json: JsonOption = False,
) -> None:
    """Replay requests under a configuration: points burnt, refusals, waits, per plan.

    Requests come from a file (--trace) or are made up from a seed, mostly of free accounts
    (--synthetic). With --against, the same requests are replayed under both configurations.
    """
    new = read_files(config)
    old = read_files(against) if against else None
    requests = _requests(trace, synthetic, seed, old or new)
    devices = Devices(num_workers=workers, seconds_per_job=seconds_per_job)
    results = {"config": _replay(requests, new, devices)}
    if old:
        results["against"] = _replay(requests, old, devices)
    if as_json:
        typer.echo(json.dumps(_as_json(results)))
    else:
        _show(results)


def _requests(
    trace: Path | None, synthetic: int | None, seed: int, files: ConfigFiles
) -> list[Request]:
    if (trace is None) == (synthetic is None):
        _fail("give --trace FILE or --synthetic NUMBER, one of the two")
    if trace is None:
        return synthetic_trace(synthetic or 0, seed, catalog=files.catalog, plans=files.plans)
    try:
        with trace.open(encoding="utf-8", newline="") as lines:
            return parse_trace(lines, str(trace))
    except TraceError as error:
        _fail(str(error))
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"{trace}: {error}")


def _replay(requests: list[Request], files: ConfigFiles, devices: Devices) -> dict[str, PlanResult]:
    return simulate(
        requests, catalog=files.catalog, plans=files.plans, prices=files.prices, devices=devices
    )


def _as_json(results: dict[str, dict[str, PlanResult]]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        name: {plan: dataclasses.asdict(result) for plan, result in by_plan.items()}
        for name, by_plan in results.items()
    }
    if "against" in shown:
        shown["difference"] = {
            plan: _difference(new, shown["against"][plan]) for plan, new in shown["config"].items()
        }
    return shown


def _difference(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """What is more (or less) in `new`; None where either has no number."""
    changes: dict[str, Any] = {}
    for name in new.keys() | old.keys():
        after, before = new.get(name, 0), old.get(name, 0)
        if isinstance(after, dict):
            changes[name] = _difference(after, before)
        else:
            changes[name] = None if after is None or before is None else after - before
    return dict(sorted(changes.items()))


def _show(results: dict[str, dict[str, PlanResult]]) -> None:
    titles = {
        "config": "this configuration",
        "against": "compared with",
        "difference": "difference (this - compared)",
    }
    for name, by_plan in _as_json(results).items():
        table = Table("", title=titles[name], title_justify="left")
        flat = {plan: _flat(result) for plan, result in by_plan.items()}
        for plan in flat:
            table.add_column(plan, justify="right")
        rows = dict.fromkeys(row for numbers in flat.values() for row in numbers)
        for row in rows:
            table.add_row(row, *(_cell(numbers.get(row, 0)) for numbers in flat.values()))
        Console().print(table)


def _flat(result: dict[str, Any]) -> dict[str, float | None]:
    """One number a row, in the order of the fields; refusals have a row per reason."""
    rows: dict[str, float | None] = {}
    for field in dataclasses.fields(PlanResult):
        value, name = result[field.name], field.name.replace("_", " ")
        if isinstance(value, dict):
            rows |= {f"{name}: {reason}": number for reason, number in value.items()}
        else:
            rows[name] = value
    return rows


def _cell(number: float | None) -> str:
    return "-" if number is None else str(number) if isinstance(number, int) else f"{number:.1f}"


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
