"""Low-rank weights of modes, read beside the model and switched on for their mode alone."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from models.adapters.denoisers import transformers_of
from models.catalog import ModelCard
from models.pipeline import LoadFailed


def load_loras(pipe: Any, card: ModelCard, folder: Path) -> None:  # noqa: ANN401 -- untyped
    """Read every LoRA that a mode of `card` names, and leave all of them off.

    Raises:
        LoadFailed: a file is missing, broken, or made for other weights; names mode and file.
    """
    for name, mode in card.modes.items():
        if mode.lora is None or _holders(pipe, mode.lora):
            continue
        where = f"model {card.id}: mode {name}: lora {mode.lora}"
        if not hasattr(pipe, "load_lora_weights"):
            raise LoadFailed(f"{where}: {type(pipe).__name__} takes no LoRA")
        if not (folder / mode.lora).is_file():
            raise LoadFailed(f"{where} is not in {folder}")
        try:
            path = folder / mode.lora
            pipe.load_lora_weights(
                str(path.parent),
                weight_name=path.name,
                adapter_name=lora_name(mode.lora),
                local_files_only=True,
            )
        except Exception as error:
            # Sizes, names or bytes: whichever it is, the file does not belong here.
            raise LoadFailed(f"{where} does not fit these weights: {error}") from error
        holders = _holders(pipe, mode.lora)
        if not holders:
            raise LoadFailed(f"{where} does not fit these weights: it names none of their layers")
        for transformer in holders:
            transformer.disable_lora()


@contextmanager
def lora_in_force(pipe: Any, file: str) -> Iterator[None]:  # noqa: ANN401 -- untyped
    """Have the LoRA of `file`, and no other, work inside the block."""
    with ExitStack() as stack:
        for transformer in _holders(pipe, file):
            transformer.set_adapters(lora_name(file))
            transformer.enable_lora()
            stack.callback(transformer.disable_lora)
        yield


def lora_name(file: str) -> str:
    """What a LoRA file is called among the loaded ones."""
    return file.removesuffix(".safetensors").replace("/", "_").replace(".", "_")


def _holders(pipe: Any, file: str) -> list[Any]:  # noqa: ANN401 -- untyped
    """The transformers that the LoRA of `file` was read into."""
    name = lora_name(file)
    return [each for each in transformers_of(pipe) if name in getattr(each, "peft_config", {})]
