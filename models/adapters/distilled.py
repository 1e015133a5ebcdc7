"""Distilled weights of modes: a transformer with a schedule of its own, beside the model's.

They lie in a folder inside the checkpoint's, named by `distilled` of a mode: `transformer` as
diffusers saves it, of the model's class and shape, and `scheduler` where it needs another one.
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

SAME = ("in_channels", "out_channels", "patch_size", "text_dim")
"""What a distilled transformer shares with the model's, so that one stands in for the other."""


@dataclass(frozen=True)
class Distilled:
    """What replaces the parts of the same names; `scheduler` is None where the model's stays."""

    transformer: Any
    scheduler: Any


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
    """Have `pipe` sample with the weights of `mode` inside the block."""
    with ExitStack() as stack:
        if mode.distilled is not None:
            chosen = parts[mode.distilled]
            stack.callback(setattr, pipe, "transformer", pipe.transformer)
            pipe.transformer = chosen.transformer
            if chosen.scheduler is not None:
                stack.callback(setattr, pipe, "scheduler", pipe.scheduler)
                pipe.scheduler = chosen.scheduler
        yield


def _read(pipe: Any, folder: Path) -> Distilled:  # noqa: ANN401 -- untyped
    if not (folder / "transformer").is_dir():
        raise ValueError("has no folder transformer")
    model = pipe.transformer
    transformer = read_model(type(model), folder / "transformer", model.dtype)
    other = [key for key in SAME if transformer.config.get(key) != model.config.get(key)]
    if other:
        raise ValueError(f"is of another model: its {', '.join(other)} differ")
    return Distilled(transformer, _read_scheduler(pipe, folder))


def _read_scheduler(pipe: Any, folder: Path) -> Any:  # noqa: ANN401 -- untyped
    if not (folder / "scheduler").is_dir():
        return None
    return type(pipe.scheduler).from_pretrained(folder / "scheduler", local_files_only=True)
