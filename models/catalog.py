"""The catalog: a card for every served model, read from `configs/models.yaml`. Torch-free."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.card import ModelCard
from models.configfile import load_yaml_as
from models.spec import Kind


class Catalog(BaseModel):
    """Every served model, in the order of the file; the first of a kind is its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: Annotated[list[ModelCard], Field(min_length=1)]

    @model_validator(mode="after")
    def _ids_are_unique(self) -> "Catalog":
        ids = [card.id for card in self.models]
        if len(set(ids)) != len(ids):
            raise ValueError("two models share an id")
        return self

    @property
    def default(self) -> ModelCard:
        """The first of the file."""
        return self.models[0]

    @property
    def pools(self) -> frozenset[str]:
        """Every pool that serves a model."""
        return frozenset(card.pool for card in self.models)

    def default_for(self, kind: Kind) -> ModelCard | None:
        """The model of a request of `kind` that names none; None where no model makes it."""
        return next((card for card in self.models if kind in card.kinds), None)

    def in_pool(self, pool: str) -> list[ModelCard]:
        """The models that the workers of `pool` serve."""
        return [card for card in self.models if card.pool == pool]

    def find(self, model_id: str) -> ModelCard | None:
        """The card with this id, or None."""
        return next((card for card in self.models if card.id == model_id), None)


def load_catalog(path: Path) -> Catalog:
    """Read the model cards at `path` (`configs/models.yaml`).

    Raises:
        ConfigError: with file, line and key of every mistake.
    """
    return load_yaml_as(path, Catalog)
