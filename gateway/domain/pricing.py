"""Prices: integers, rounded up once. A model without a price is not served."""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.catalog import Catalog
from models.configfile import ConfigError, load_yaml_as
from models.spec import VideoSpec


class Price(BaseModel):
    """What one model costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    points_per_second: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Quote:
    """The price of one spec under one version of the price list."""

    points: int
    price_version: str


class PriceList(BaseModel):
    """`configs/pricing.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prices: list[Price]

    @property
    def version(self) -> str:
        """A short hash of everything that decides a price."""
        canonical = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def points_per_second(self, model: str) -> int:
        """The price of `model`.

        Raises:
            KeyError: it has none; `load_prices` keeps such a gateway from starting.
        """
        prices = {price.model: price.points_per_second for price in self.prices}
        return prices[model]

    def quote(self, spec: VideoSpec) -> Quote:
        """The price of `spec`: points per second times whole seconds of motion."""
        return Quote(self.points_per_second(spec.model) * billed_seconds(spec), self.version)


def billed_seconds(spec: VideoSpec) -> int:
    """Seconds of motion after the first frame, rounded up: 17 frames at 8 fps are 2."""
    return math.ceil((spec.num_frames - 1) / spec.fps)


def load_prices(path: Path, catalog: Catalog) -> PriceList:
    """Read `configs/pricing.yaml` and make sure that every model of `catalog` has a price.

    Raises:
        ConfigError: with file, line and key of every mistake, or the models without a price.
    """
    prices = load_yaml_as(path, PriceList)
    priced = {price.model for price in prices.prices}
    missing = [card.id for card in catalog.models if card.id not in priced]
    if missing:
        raise ConfigError([f"{path}:1: prices: no price for model {name}" for name in missing])
    return prices
