"""Weights that single modes bring beside the model's own; all of them stay on the device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.adapters.common import weight_bytes
from models.adapters.distilled import DistilledParts, read_distilled
from models.adapters.placement import Offload
from models.card import ModelCard
from models.pipeline import LoadFailed

if TYPE_CHECKING:
    from models.adapters.quirks import Family


@dataclass(frozen=True)
class Extras:
    """What modes name, by the names of the folders."""

    distilled: DistilledParts = field(default_factory=dict)
    upsamplers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Bytes of their weights."""
        return weight_bytes(self._models)

    def place(self, card: ModelCard, device: str, offload: Offload) -> None:
        """Bring them onto `device`.

        Raises:
            LoadFailed: the model's weights wait in host memory, so there is no room for a second
                set of them.
        """
        if self.distilled and offload is not Offload.NONE:
            raise LoadFailed(
                f"model {card.id}: distilled weights need all on the device, offload is {offload}: "
                "say offload none or take a larger device"
            )
        for model in self._models:
            model.to(device)

    @property
    def transformers(self) -> list[Any]:
        """Those that stand in for the model's."""
        return [each.transformer for each in self.distilled.values()]

    @property
    def autoencoders(self) -> list[Any]:
        """Those that stand in for the model's."""
        return [each.vae for each in self.distilled.values() if each.vae is not None]

    @property
    def _models(self) -> list[Any]:
        return [*self.transformers, *self.autoencoders, *self.upsamplers.values()]


def read_extras(
    adapter: "Family",
    pipe: Any,  # noqa: ANN401 -- diffusers is untyped
    card: ModelCard,
    folder: Path,
) -> Extras:
    """Read what modes of `card` name, into host memory.

    Raises:
        LoadFailed: weights are missing, broken or of another model; names mode and folder.
    """
    upsamplers: dict[str, Any] = {}
    for name, mode in card.modes.items():
        if mode.second_pass is None or mode.second_pass.upsampler in upsamplers:
            continue
        inner = mode.second_pass.upsampler
        try:
            upsamplers[inner] = adapter.read_upsampler(pipe, folder / inner)
        except Exception as error:
            message = f"model {card.id}: mode {name}: upsampler {inner} {error}"
            raise LoadFailed(message) from error
    return Extras(read_distilled(pipe, card, folder), upsamplers)
