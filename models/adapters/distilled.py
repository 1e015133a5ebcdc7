"""Distilled weights of modes: a transformer with a schedule of its own, beside the model's.

They lie in a folder inside the checkpoint's, named by `distilled` of a mode: `transformer` as
diffusers saves it, of the model's class and shape, `scheduler` where it needs another one, and
`vae` where another autoencoder of the same latents decodes faster.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.adapters.folder import read_model
from models.card import ModelCard
from models.modes import Mode
from models.pipeline import LoadFailed

SAME = {
    "transformer": ("in_channels", "out_channels", "patch_size", "text_dim"),
    "vae": (
        "z_dim",
        "latent_channels",
        "latents_mean",
        "latents_std",
        "scaling_factor",
        "scale_factor_spatial",
        "scale_factor_temporal",
        "patch_size",
    ),
}
"""What of its config a part shares with the model's, so that one stands in for the other."""


@dataclass(frozen=True)
class Distilled:
    """What replaces the parts of the same names; None where the model's stays."""

    transformer: Any
    scheduler: Any
    vae: Any


DistilledParts = Mapping[str, Distilled]
"""By the name of the folder."""


def read_distilled(pipe: Any, card: ModelCard, folder: Path) -> DistilledParts:  # noqa: ANN401 -- untyped
    """Read what modes of `card` name, into host memory.

    Raises:
        LoadFailed: weights are missing, broken or of another shape; names mode and folder.
    """
    found: dict[str, Distilled] = {}
    for name, mode in card.modes.items():
        if mode.distilled is None or mode.distilled in found:
            continue
        try:
            found[mode.distilled] = _read(pipe, folder / mode.distilled)
        except Exception as error:
            message = f"model {card.id}: mode {name}: distilled {mode.distilled} {error}"
            raise LoadFailed(message) from error
    return found


@contextmanager
def distilled_in_force(pipe: Any, mode: Mode, parts: DistilledParts) -> Iterator[None]:  # noqa: ANN401
    """Have `pipe` sample and decode with the weights of `mode` inside the block."""
    with ExitStack() as stack:
        if mode.distilled is not None:
            for name, part in vars(parts[mode.distilled]).items():
                if part is not None:
                    stack.callback(setattr, pipe, name, getattr(pipe, name))
                    setattr(pipe, name, part)
        yield


def _read(pipe: Any, folder: Path) -> Distilled:  # noqa: ANN401 -- untyped
    if not (folder / "transformer").is_dir():
        raise ValueError("has no folder transformer")
    return Distilled(
        transformer=_read_like(pipe.transformer, folder, "transformer"),
        scheduler=_read_scheduler(pipe, folder),
        vae=_read_like(pipe.vae, folder, "vae") if (folder / "vae").is_dir() else None,
    )


def _read_like(model: Any, folder: Path, name: str) -> Any:  # noqa: ANN401 -- untyped
    """What stands in for `model`, the pipeline's part `name`."""
    part = read_model(type(model), folder / name, model.dtype)
    other = [key for key in SAME[name] if part.config.get(key) != model.config.get(key)]
    if other:
        raise ValueError(f"is of another model: {', '.join(other)} of its {name} differ")
    return part


def _read_scheduler(pipe: Any, folder: Path) -> Any:  # noqa: ANN401 -- untyped
    if not (folder / "scheduler").is_dir():
        return None
    return type(pipe.scheduler).from_pretrained(folder / "scheduler", local_files_only=True)
