"""Low-rank weights of modes, read beside the model and switched on for their mode alone."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from models.card import ModelCard
from models.modes import Mode, SecondPass
from models.pipeline import LoadFailed

FIRST, SECOND = "transformer", "transformer_2"
BESIDE = "connectors"
"""Of LTX-2: a file for its transformer may have layers for this part too."""


def load_loras(pipe: Any, card: ModelCard, folder: Path) -> None:  # noqa: ANN401 -- untyped
    """Read every LoRA that a mode of `card` names, and leave all of them off.

    Raises:
        LoadFailed: a file is missing, broken, or made for other weights; names mode and file.
    """
    for name, mode in card.modes.items():
        for part, file in (each for sampling in mode.passes for each in _files(sampling)):
            try:
                _load(pipe, part, folder, file)
            except _Unfit as problem:
                message = f"model {card.id}: mode {name}: lora {file} {problem}"
                raise LoadFailed(message) from problem.__cause__


@contextmanager
def loras_in_force(pipe: Any, sampling: Mode | SecondPass) -> Iterator[None]:  # noqa: ANN401
    """Have the LoRAs of `sampling` work inside the block."""
    with ExitStack() as stack:
        for part, file in _files(sampling):
            for carrier in _carriers(pipe, part, file):
                carrier.set_adapters(lora_name(file))
                carrier.enable_lora()
                stack.callback(carrier.disable_lora)
        yield


def lora_name(file: str) -> str:
    """What a LoRA file is called among the loaded ones."""
    return hashlib.sha256(file.encode()).hexdigest()[:16]


class _Unfit(Exception):
    """Why a LoRA file is of no use here."""


def _files(sampling: Mode | SecondPass) -> list[tuple[str, str]]:
    """The component and the file of every LoRA of `sampling`."""
    second = sampling.lora_2 if isinstance(sampling, Mode) else None
    files = ((FIRST, sampling.lora), (SECOND, second))
    return [(part, file) for part, file in files if file is not None]


def _load(pipe: Any, part: str, folder: Path, file: str) -> None:  # noqa: ANN401 -- untyped
    transformer, path = getattr(pipe, part, None), folder / file
    if transformer is None:
        raise _Unfit(f"is for a {part}, which these weights have not")
    if not hasattr(pipe, "load_lora_weights"):
        raise _Unfit(f"is of no use: {type(pipe).__name__} takes no LoRA")
    if _has(transformer, file):
        return
    if not path.is_file():
        raise _Unfit(f"is not in {folder}")
    second = {"load_into_transformer_2": True} if part == SECOND else {}
    try:
        pipe.load_lora_weights(
            str(path.parent),
            weight_name=path.name,
            adapter_name=lora_name(file),
            local_files_only=True,
            **second,
        )
    except Exception as error:
        # Sizes, names or bytes: whichever it is, the file does not belong here.
        raise _Unfit(f"does not fit these weights: {error}") from error
    if not _has(transformer, file):
        raise _Unfit("does not fit these weights: it names none of their layers")
    for carrier in _carriers(pipe, part, file):
        carrier.disable_lora()


def _carriers(pipe: Any, part: str, file: str) -> list[Any]:  # noqa: ANN401 -- untyped
    """The components that the LoRA of `part` in `file` was read into."""
    names = [FIRST, BESIDE] if part == FIRST else [part]
    found = [getattr(pipe, name, None) for name in names]
    return [each for each in found if each is not None and _has(each, file)]


def _has(transformer: Any, file: str) -> bool:  # noqa: ANN401 -- untyped
    return lora_name(file) in getattr(transformer, "peft_config", {})
