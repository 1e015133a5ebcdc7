"""A checkpoint folder on its way to a pipeline: what it claims to be, and reading it.

Whatever is wrong with it is a `LoadFailed` that names the folder and what to do.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import DiffusionPipeline
from diffusers.utils import logging as diffusers_logging

from models.card import BUILTIN_PREFIX, ModelCard
from models.pipeline import LoadFailed

INDEX_FILE = "model_index.json"


def read_class_name(card: ModelCard, folder: Path, allowed: Sequence[str]) -> str:
    """The pipeline class that the index of `folder` names, one of `allowed`.

    Raises:
        LoadFailed: there is no readable index, or it names another family.
    """
    remedy = "put a diffusers folder there, or change `checkpoint` in the model card"
    if card.checkpoint.startswith(BUILTIN_PREFIX):
        remedy = "its weights belong to the package; install it again"
    index = folder / INDEX_FILE
    try:
        class_name = str(json.loads(index.read_text(encoding="utf-8"))["_class_name"])
    except FileNotFoundError:
        raise LoadFailed(f"model {card.id}: no {INDEX_FILE} in {folder}: {remedy}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadFailed(f"model {card.id}: {index} is broken ({error}): {remedy}") from error
    if class_name not in allowed:
        raise LoadFailed(
            f"model {card.id}: {folder} holds a {class_name}, this adapter reads "
            f"{' or '.join(allowed)}: change `adapter` or `checkpoint` in the model card"
        )
    return class_name


def read_pipeline(
    pipeline_class: type[DiffusionPipeline],
    folder: Path,
    dtypes: Mapping[str, torch.dtype],
) -> Any:  # noqa: ANN401 -- diffusers is untyped
    """The pipeline in `folder`, in host memory, ready for inference; nothing is fetched.

    Args:
        pipeline_class: not always the one that the index names.
        folder: a complete diffusers folder with safetensors; pickles are not read.
        dtypes: by component, and `default`.

    Raises:
        ValueError: files lack some of the weights, which would be made up or left out in silence.
        Exception: whatever else diffusers and transformers have against the files.
    """
    diffusers_logging.disable_progress_bar()
    transformers.logging.disable_progress_bar()
    pipe = pipeline_class.from_pretrained(
        folder,
        dtype=dict(dtypes),
        local_files_only=True,
        use_safetensors=True,
        **_read_encoders(folder, dtypes),
    )
    for name, component in pipe.components.items():
        if isinstance(component, torch.nn.Module):
            component.eval()
            # What diffusers finds no weights for stays without memory.
            empty = (key for key, part in component.named_parameters() if part.is_meta)
            _refuse_missing(name, empty)
    return pipe


def read_model(kind: Any, folder: Path, dtype: torch.dtype) -> Any:  # noqa: ANN401 -- untyped
    """The diffusers model of class `kind` in `folder`, in host memory; see `read_pipeline`."""
    model, about = kind.from_pretrained(
        folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
    )
    if missing := sorted(about["missing_keys"]):
        raise ValueError(f"has no {missing[0]} in its files, {len(missing)} are missing")
    return model.eval()


def _read_encoders(folder: Path, dtypes: Mapping[str, torch.dtype]) -> dict[str, Any]:
    """The parts that transformers reads, by name; it would make up weights that are missing."""
    read: dict[str, Any] = {}
    for name, entry in json.loads((folder / INDEX_FILE).read_text(encoding="utf-8")).items():
        if not isinstance(entry, list) or entry[0] != "transformers":
            continue
        kind: Any = getattr(transformers, entry[1], None)
        is_model = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)
        if is_model:
            read[name], about = kind.from_pretrained(
                folder / name,
                dtype=dtypes.get(name, dtypes["default"]),
                output_loading_info=True,
                local_files_only=True,
                use_safetensors=True,
            )
            _refuse_missing(name, about["missing_keys"])
    return read


def _refuse_missing(part: str, keys: Iterable[str]) -> None:
    if missing := sorted(keys):
        raise ValueError(f"{part} has no {missing[0]} in its files, {len(missing)} are missing")
