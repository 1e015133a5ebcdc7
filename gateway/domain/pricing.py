"""Prices: `ceil(points_per_second x seconds x multipliers) + flat`, rounded up once, at the end.

Decimals inside, integers outside. What decided a price is frozen on the hold, so a change of the
price list never reaches a job that is open.
"""

import hashlib
import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.card import ModelCard
from models.catalog import Catalog
from models.configfile import ConfigError, load_yaml_as
from models.spec import Kind, VideoSpec

Factor = Annotated[Decimal, Field(gt=0, le=1000, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Multipliers(_Strict):
    """What makes a second dearer or cheaper. A table that is left out multiplies by 1.

    Attributes:
        kind: by kind; every kind of the model is named.
        mode: by mode; every mode of the model is named.
        resolution: by short side in pixels: a video pays the smallest entry that covers it.
        fps: by frames per second: as `resolution`.
        audio: of a video with generated sound.
    """

    kind: dict[Kind, Factor] = Field(default_factory=dict)
    mode: dict[str, Factor] = Field(default_factory=dict)
    resolution: dict[int, Factor] = Field(default_factory=dict)
    fps: dict[int, Factor] = Field(default_factory=dict)
    audio: Factor = Decimal(1)


class Price(_Strict):
    """What one model costs.

    Attributes:
        min_seconds: shorter clips pay for this many.
        flat_points: added after rounding.
    """

    model: str
    points_per_second: Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
    min_seconds: Annotated[int, Field(ge=0)] = 0
    flat_points: Annotated[int, Field(ge=0, le=1_000_000, strict=True)] = 0
    multipliers: Multipliers = Multipliers()


class Breakdown(_Strict):
    """How a price came about; what the hold keeps.

    Attributes:
        seconds: billed, as a fraction in text, such as `2` or `25/2`.
        multipliers: by table; those that are 1 are left out.
    """

    points_per_second: Decimal
    seconds: str
    min_seconds: int
    multipliers: dict[str, Decimal]
    flat_points: int

    @property
    def points(self) -> int:
        """The price."""
        seconds = max(Fraction(self.seconds), Fraction(self.min_seconds))
        exact = Fraction(self.points_per_second) * seconds
        for factor in self.multipliers.values():
            exact *= Fraction(factor)
        return math.ceil(exact) + self.flat_points

    def for_seconds(self, seconds: Fraction) -> "Breakdown":
        """The same price for another length, as it turned out."""
        return self.model_copy(update={"seconds": str(seconds)})


class Quote(_Strict):
    """The price of one spec under one version of the price list."""

    breakdown: Breakdown
    price_version: str

    @property
    def points(self) -> int:
        """The price."""
        return self.breakdown.points


class PriceList(_Strict):
    """`configs/pricing.yaml`."""

    prices: list[Price]

    @property
    def version(self) -> str:
        """A short hash of everything that decides a price."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def get(self, model: str) -> Price:
        """The price of `model`.

        Raises:
            KeyError: it has none; `load_prices` keeps such a gateway from starting.
        """
        return {price.model: price for price in self.prices}[model]

    def quote(self, spec: VideoSpec) -> Quote:
        """The price of `spec`.

        Raises:
            KeyError: the list leaves this case out; `load_prices` looked at all of them.
        """
        price = self.get(spec.model)
        tables = price.multipliers
        factors = {
            "kind": tables.kind[spec.kind] if tables.kind else Decimal(1),
            "mode": tables.mode[spec.mode] if tables.mode else Decimal(1),
            "resolution": _covering(tables.resolution, min(spec.width, spec.height)),
            "fps": _covering(tables.fps, spec.fps),
            "audio": tables.audio if spec.generate_audio else Decimal(1),
        }
        breakdown = Breakdown(
            points_per_second=price.points_per_second,
            seconds=str(billed_seconds(spec)),
            min_seconds=price.min_seconds,
            multipliers={name: factor for name, factor in factors.items() if factor != 1},
            flat_points=price.flat_points,
        )
        return Quote(breakdown=breakdown, price_version=self.version)


def billed_seconds(spec: VideoSpec) -> Fraction:
    """Seconds of motion after the first frame: 17 frames at 8 fps are 2.

    A digital human pays for what is heard: 48 frames at 24 fps are 2.
    """
    if spec.kind is Kind.DIGITAL_HUMAN:
        return Fraction(spec.num_frames, spec.fps)
    return Fraction(spec.num_frames - 1, spec.fps)


def load_prices(path: Path, catalog: Catalog) -> PriceList:
    """Read `configs/pricing.yaml` and make sure that it prices everything `catalog` offers.

    Raises:
        ConfigError: with file, line and key of every mistake, or what has no price.
    """
    prices = load_yaml_as(path, PriceList)
    models = [price.model for price in prices.prices]
    problems = [
        f"{path}:1: prices: two prices for model {model}"
        for model in sorted({model for model in models if models.count(model) > 1})
    ]
    for card in catalog.models:
        try:
            for spec in offered_specs(card):
                prices.quote(spec)
        except KeyError as missing:
            problems.append(f"{path}:1: prices: no price for model {card.id}: {missing}")
    if problems:
        raise ConfigError(problems)
    return prices


def offered_specs(card: ModelCard) -> list[VideoSpec]:
    """One spec for every combination of kind, mode, size, fps, length and sound of `card`."""
    sounds = [False, True] if card.audio == "out" else [False]
    return [
        card.example(kind=kind, mode=mode, size=size, fps=fps, seconds=seconds).model_copy(
            update={"generate_audio": has_sound}
        )
        for has_sound in sounds
        for kind in card.kinds
        for mode in card.modes
        for size in card.size_sources
        for fps in card.rate_sources
        for seconds in card.seconds
    ]


def _covering(table: dict[int, Decimal], value: int) -> Decimal:
    """The factor of the smallest bound in `table` that is not below `value`; 1 without a table."""
    if not table:
        return Decimal(1)
    bounds = [bound for bound in sorted(table) if bound >= value]
    if not bounds:
        raise KeyError(value)
    return table[bounds[0]]
