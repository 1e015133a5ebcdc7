"""Where weights lie: all on the device, or there only while they work.

The choice is made once, at the load, from what the parts take and what the device has free, and
logged with both.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
import torch
from diffusers.hooks import apply_group_offloading

from models.adapters.common import tensor_bytes, weight_bytes
from models.card import ModelCard
from models.pipeline import LoadFailed

log = structlog.stdlib.get_logger(__name__)

ROOM_TO_WORK = 0.3
"""Share of the free memory that activations are left, at least."""


class Offload(StrEnum):
    """What waits in host memory: nothing, whole models, or layers."""

    NONE = "none"
    MODEL = "model"
    GROUP = "group"


@dataclass(frozen=True)
class Placement:
    """What was decided, and why."""

    offload: Offload
    reason: str


def choose_placement(parts: dict[str, int], free_bytes: int, extra_bytes: int = 0) -> Placement:
    """The fastest way that leaves room to work.

    Args:
        parts: bytes of weights by component.
        free_bytes: free on the device.
        extra_bytes: of weights that only some modes use; they lie on the device whatever waits.
    """
    limit = int(free_bytes * (1 - ROOM_TO_WORK))
    total, name = sum(parts.values()), max(parts, key=parts.__getitem__)
    beside = f" and {extra_bytes} of single modes" if extra_bytes else ""
    if total + extra_bytes <= limit:
        return Placement(Offload.NONE, f"all weights, {total} bytes{beside}, fit into {limit}")
    largest = parts[name]
    if largest + extra_bytes <= limit:
        reason = f"{total} bytes{beside} do not fit into {limit}; {name}, {largest}{beside}, does"
        return Placement(Offload.MODEL, reason)
    reason = f"{name} alone, {largest} bytes{beside}, does not fit into {limit}"
    return Placement(Offload.GROUP, reason)


def place(
    pipe: Any,  # noqa: ANN401 -- untyped
    card: ModelCard,
    device: str,
    asked: str,
    extra_bytes: int = 0,
) -> Offload:
    """Bring `pipe` onto `device`; `asked` is an `Offload` or `auto`.

    `extra_bytes`: of weights beside it that the caller brings there too.

    Raises:
        LoadFailed: it has too little room; names the bytes that are needed and that are free.
    """
    where = torch.device(device)
    free_bytes = find_room(pipe, where)
    if asked != "auto":
        placement = Placement(Offload(asked), "the card says so")
    elif free_bytes is not None:
        placement = choose_placement(part_bytes(pipe), free_bytes, extra_bytes)
    else:
        placement = Placement(Offload.NONE, f"weights stay in the memory of a {where.type}")
    needed_bytes = device_bytes(pipe, placement.offload) + extra_bytes
    if free_bytes is not None and needed_bytes > free_bytes:
        remedy = "free some of it" if asked in ("auto", "group") else "let option offload be auto"
        raise LoadFailed(
            f"model {card.id}: with offload {placement.offload} its weights need {needed_bytes} "
            f"bytes on {device}, {free_bytes} are free: {remedy} or take a larger device"
        )
    log.info(
        "weights_placed",
        model=card.id,
        offload=placement.offload.value,
        reason=placement.reason,
        needed_bytes=needed_bytes,
        extra_bytes=extra_bytes,
    )
    if placement.offload is Offload.NONE:
        pipe.to(device)
    elif placement.offload is Offload.GROUP:
        _offload_groups(pipe, where)
    return placement.offload


def find_room(pipe: Any, device: torch.device) -> int | None:  # noqa: ANN401 -- untyped
    """Bytes of a GPU that are free or hold weights of `pipe`; None where they stay in the host."""
    if device.type != "cuda":
        return None
    parts = [part for part in pipe.components.values() if isinstance(part, torch.nn.Module)]
    tensors = (each for part in parts for each in (*part.parameters(), *part.buffers()))
    here = tensor_bytes(each for each in tensors if each.device == device)
    return torch.cuda.mem_get_info(device)[0] + here


def arrange(pipe: Any, device: str, offload: Offload) -> None:  # noqa: ANN401 -- untyped
    """Have the weights of a placed `pipe` wait as `offload` says from the next call on."""
    if offload is Offload.MODEL:
        pipe.enable_model_cpu_offload(device=device)
    elif offload is Offload.NONE and getattr(pipe, "_all_hooks", None):
        pipe.remove_all_hooks()
        pipe.to(device)


def part_bytes(pipe: Any) -> dict[str, int]:  # noqa: ANN401 -- untyped
    """Bytes of weights by component."""
    return {
        name: weight_bytes([part])
        for name, part in pipe.components.items()
        if isinstance(part, torch.nn.Module)
    }


def device_bytes(pipe: Any, offload: Offload) -> int:  # noqa: ANN401 -- untyped
    """Bytes of weights that lie on the device at a time."""
    parts = part_bytes(pipe)
    if offload is Offload.MODEL:
        return max(parts.values())
    if offload is Offload.GROUP:
        return sum(size for name, size in parts.items() if not _goes_in_groups(name))
    return weight_bytes(pipe.components.values())


def bring(module: torch.nn.Module) -> None:
    """Have an offloaded `module` on its device for a call that goes past its `forward`."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None and hasattr(hook, "pre_forward"):
        hook.pre_forward(module)


def _offload_groups(pipe: Any, device: torch.device) -> None:  # noqa: ANN401 -- untyped
    """Transformers and text encoders layer by layer; what is small stays on the device."""
    for name, part in pipe.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        if _goes_in_groups(name):
            apply_group_offloading(
                part,
                onload_device=device,
                offload_device=torch.device("cpu"),
                offload_type="leaf_level",
                use_stream=device.type == "cuda",
            )
        else:
            part.to(device)


def _goes_in_groups(name: str) -> bool:
    """Whether the component of this name is so large that it never lies on the device whole."""
    return name.startswith(("transformer", "text_encoder"))
