"""`reelgate price`: one request on every plan, priced as the gateway would price it."""

import dataclasses
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.config import DEFAULT_FOLDER, ConfigOption, JsonOption, read_files
from gateway.domain.errors import GatewayError
from gateway.domain.price_table import PlanPrice, price_on_plans
from gateway.domain.pricing import Quote
from gateway.jobs.admission import build_spec, find_card
from gateway.jobs.request import parse_request
from models.spec import Kind, SpokenText, VideoSpec

_ANY_PROMPT = "-"


def price(
    *,
    model: Annotated[
        str | None, typer.Option(help="Id; the first of models.yaml that makes the kind.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT; the model's first.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Clip or speech length; the model's first.")
    ] = None,
    fps: Annotated[int | None, typer.Option(help="Frames per second; the model's first.")] = None,
    mode: Annotated[str | None, typer.Option(help="Mode; the model's first.")] = None,
    kind: Annotated[Kind, typer.Option(help="What goes in.")] = Kind.TEXT_TO_VIDEO,
    config: ConfigOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Price one request on every plan: points, what forbids it, how many the points pay for."""
    files = read_files(config)
    speaks = kind is Kind.DIGITAL_HUMAN
    fields = {"model": model, "size": size, "seconds": seconds, "fps": fps, "mode": mode}
    content = {"speech": SpokenText(text=_ANY_PROMPT)} if speaks else {"prompt": _ANY_PROMPT}
    try:
        request = parse_request({**fields, **content})
        card = find_card(request.model, files.catalog, kind)
        speech_s = (seconds or card.seconds[0]) if speaks else None
        spec = build_spec(request, card, kind=kind, speech_s=speech_s)
    except GatewayError as error:
        typer.echo(f"price: {error.message}", err=True)
        raise typer.Exit(1) from None
    quote = files.prices.quote(spec)
    lines = price_on_plans(spec, quote, files.plans)
    if as_json:
        typer.echo(json.dumps(_as_json(spec, quote, lines)))
    else:
        _show(spec, quote, lines)


def _as_json(spec: VideoSpec, quote: Quote, lines: list[PlanPrice]) -> dict[str, Any]:
    asked = spec.model_dump(mode="json", include={"model", "kind", "mode", "fps", "num_frames"})
    return {
        "request": {**asked, "size": spec.size},
        "points": quote.points,
        "breakdown": quote.breakdown.model_dump(mode="json"),
        "price_version": quote.price_version,
        "plans": [dataclasses.asdict(line) for line in lines],
    }


def _show(spec: VideoSpec, quote: Quote, lines: list[PlanPrice]) -> None:
    breakdown = quote.breakdown
    factors = "".join(f" x {value} ({name})" for name, value in breakdown.multipliers.items())
    flat = f" + {breakdown.flat_points}" if breakdown.flat_points else ""
    console = Console()
    console.print(
        f"{spec.model} {spec.kind} {spec.mode} {spec.size} at {spec.fps} fps: "
        f"[bold]{quote.points} points[/bold] = {breakdown.points_per_second} a second "
        f"x {breakdown.seconds} s{factors}{flat}   (price version {quote.price_version})",
        soft_wrap=True,
        highlight=False,
    )
    table = Table("plan", "allowed", "a day's points pay", "a period's points pay")
    for line in lines:
        table.add_row(
            line.plan,
            f"no: {line.forbidden_by}" if line.forbidden_by else "yes",
            _number(line.per_day),
            _number(line.per_period),
        )
    console.print(table)


def _number(number: int | None) -> str:
    return "no limit" if number is None else str(number)
