"""Whether a card and the weights it names belong together; asked once, at the load."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.adapters.denoisers import repeated_blocks, transformers_of
from models.adapters.placement import Offload
from models.adapters.sampling import SHIFTS
from models.card import ModelCard
from models.cardparts import Pictures, parse_size
from models.modes import Mode
from models.pipeline import LoadFailed

if TYPE_CHECKING:
    from models.adapters.quirks import Family

LOW_MEMORY_OPTIONS = frozenset({"offload", "vae_tiling"})
MAX_THREADS = 256
COMMON_OPTIONS = frozenset(
    {"dtype", "fuse_guidance", "offload", "prompt_cache_bytes", "threads", "weights"}
)
FLOAT8 = "float8"


@dataclass(frozen=True)
class Grid:
    """What a model makes without rounding: sides multiples of `pixels`, frames of `frames` + 1."""

    pixels: int
    frames: int


def check_card(adapter: "Family", card: ModelCard, folder: Path) -> None:
    """Refuse a card whose words the adapter does not know, before gigabytes are read.

    Raises:
        LoadFailed: names the key of the card.
    """
    problem = problem_of_options(card, COMMON_OPTIONS | adapter.options)
    if unknown := card.low_memory.keys() - LOW_MEMORY_OPTIONS:
        problem = f"low_memory must leave out {', '.join(sorted(unknown))}"
    if not 1 <= int(card.options.get("threads", 1)) <= MAX_THREADS:
        problem = f"option threads must be from 1 to {MAX_THREADS}"
    if int(card.options.get("prompt_cache_bytes", 0)) < 0:
        problem = "option prompt_cache_bytes must be 0 or more"
    if (weights := card.options.get("weights", FLOAT8)) != FLOAT8:
        problem = f"option weights must be {FLOAT8}, not {weights}"
    if card.audio == "out" and not adapter.makes_sound:
        problem = "audio must not be out: this model makes no sound"
    if card.low_memory.get("offload", Offload.MODEL) != Offload.MODEL:
        problem = "low_memory: offload can only be model"
    _raise_for(problem, card, folder)
    for name, mode in card.modes.items():
        if problem := _problem_of_mode(adapter, card, mode):
            _raise_for(f"mode {name}: {problem}", card, folder)


def problem_of_options(card: ModelCard, known: frozenset[str]) -> str | None:
    """What the `known` options of a renderer and the ones of `card` do not share, in words."""
    offload = card.options.get("offload", "auto")
    if unknown := card.options.keys() - known:
        return f"options must leave out {', '.join(sorted(unknown))}"
    if offload not in {"auto", *Offload}:
        return f"option offload must be auto, {', '.join(Offload)}, not {offload}"
    return None


def check_weights(
    adapter: "Family",
    card: ModelCard,
    folder: Path,
    pipe: Any,  # noqa: ANN401 -- diffusers is untyped
) -> None:
    """Refuse a card that allows what these weights would silently round or ignore.

    Raises:
        LoadFailed: names the key of the card.
    """
    grid, problem = adapter.find_grid(pipe), adapter.find_problem(card, pipe)
    if card.size_multiple % grid.pixels:
        problem = f"size_multiple must be a multiple of {grid.pixels}"
    if card.num_frames.multiple % grid.frames or (card.num_frames.offset - 1) % grid.frames:
        problem = f"num_frames must be a multiple of {grid.frames}, plus 1"
    if unable := [kind for kind in card.kinds if kind not in adapter.find_kinds(pipe)]:
        problem = f"kinds must leave out {', '.join(unable)}"
    problem = _problem_of_pictures(card.pictures, adapter.find_pictures(pipe)) or problem
    for name, mode in card.modes.items():
        is_shifted = mode.flow_shift is not None
        if is_shifted and not any(key in pipe.scheduler.config for key in SHIFTS):
            problem = f"mode {name}: flow_shift cannot be given to this model's scheduler"
        if mode.compile and not all(map(repeated_blocks, transformers_of(pipe))):
            problem = f"mode {name}: compile: this model's transformer has no blocks to compile"
        if mode.second_pass and (odd := _without_half(card, grid)):
            problem = f"mode {name}: second_pass: half of {odd[0]} is no multiple of {grid.pixels}"
    _raise_for(problem, card, folder)


def _problem_of_pictures(given: Pictures, able: Pictures) -> str | None:
    # Weights that take a last frame also work where the card demands one, or has none.
    is_free = given.last_image == "refused" and able.last_image != "needed"
    if not is_free and able.last_image not in (given.last_image, "taken"):
        return f"pictures: last_image must be {able.last_image}"
    for name in ("reference_images", "keyframes"):
        most = getattr(able, name)
        if getattr(given, name) > most:
            return f"pictures: {name} must be {most} at most"
    return None


def check_offload(card: ModelCard, offload: Offload) -> None:
    """Refuse modes that need what `offload`, once it is decided, does not leave.

    Raises:
        LoadFailed: names the mode.
    """
    for name, mode in card.modes.items():
        if mode.compile is not None and offload is Offload.GROUP:
            raise LoadFailed(
                f"model {card.id}: mode {name}: compile and offload group do not go together: "
                "leave compile out, or take a larger device"
            )


def _problem_of_mode(adapter: "Family", card: ModelCard, mode: Mode) -> str | None:
    if mode.cache is not None and mode.cache.kind not in adapter.caches:
        return f"cache {mode.cache.kind} skips nothing with this model"
    if mode.compile is not None and "weights" in card.options:
        return "compile and option weights do not go together"
    if mode.sigmas is not None and not adapter.takes_sigmas:
        return "sigmas cannot be given to this model"
    if mode.second_pass is not None and not adapter.takes_two_passes:
        return "second_pass cannot be given to this model"
    return None


def _without_half(card: ModelCard, grid: Grid) -> list[str]:
    """The sizes that a model cannot make at half their sides."""
    return [
        size for size in card.sizes if any(side % (2 * grid.pixels) for side in parse_size(size))
    ]


def _raise_for(problem: str | None, card: ModelCard, folder: Path) -> None:
    if problem is not None:
        raise LoadFailed(f"model {card.id}: its card does not fit {folder}: {problem}")
