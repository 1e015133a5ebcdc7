"""Weights of transformers kept in one byte each: what that changes, saves and excludes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from models.adapters import placement
from models.adapters.common import weight_bytes
from models.adapters.denoisers import last_block
from models.adapters.family import DiffusersAdapter
from models.card import ModelCard
from models.pipeline import LoadFailed
from models.registry import create_pipeline
from tests.support.renderers import (
    MODELS,
    Model,
    Video,
    Watcher,
    largest_difference,
    save_lora,
    save_picture,
    video,
)

BY_NAME = {model.name: model for model in MODELS}
NAMES = ["wan-t2v", "wan-experts", "ltx2", "cogvideox-t2v", "hunyuan15-t2v", "skyreels"]
FLOAT8 = {"weights": "float8"}
Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A checkpoint of a model, built once."""
    built: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in built:
            built[name] = tmp_path_factory.mktemp(name)
            BY_NAME[name].save(built[name])
        return built[name]

    return folder_of


class Subject:
    """A loaded renderer and its card."""

    def __init__(self, name: str, folder: Path, *, float8: bool, **changes: object) -> None:
        self.model: Model = BY_NAME[name]
        options = {**self.model.options, **(FLOAT8 if float8 else {})}
        more = changes.pop("options", {})
        assert isinstance(more, dict)
        self.card: ModelCard = self.model.card(folder, options=options | more, **changes)
        renderer = create_pipeline(self.card)
        assert isinstance(renderer, DiffusersAdapter)
        self.renderer = renderer
        renderer.load(self.card, "cpu")
        self.picture = save_picture(folder / "red.png", (250, 60, 30))

    def render(self, **changes: object) -> Video:
        """The frames of a short clip."""
        spec = self.model.spec(self.card, self.picture, **changes)
        return video(self.renderer.generate([spec], Watcher())[0])

    def weights(self) -> dict[str, torch.Tensor]:
        """All of the transformers, by name."""
        return {
            f"{number}.{name}": weight
            for number, part in enumerate(self.renderer.transformers)
            for name, weight in part.state_dict().items()
        }

    def round_like(self, other: "Subject") -> None:
        """Round those weights that `other` keeps in float8 to what it can say."""
        for name, kept in other.weights().items():
            if kept.dtype == torch.float8_e4m3fn:
                mine = self.weights()[name]
                mine.copy_(mine.to(torch.float8_e4m3fn).to(mine.dtype))


@pytest.mark.parametrize("name", NAMES)
def test_frames_are_those_of_weights_that_were_rounded_and_no_others(
    folder: Folder, name: str
) -> None:
    full, narrow = (Subject(name, folder(name), float8=float8) for float8 in (False, True))
    before, frames = full.render(), narrow.render()
    assert np.array_equal(frames, narrow.render()), "the same bits every time"
    distance = np.abs(frames.astype(int) - before).mean()
    assert 0 < distance < 3, "in 8-bit levels"
    full.round_like(narrow)
    assert largest_difference(full.render(), frames) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_most_weights_take_one_byte_and_are_counted_so(folder: Folder, name: str) -> None:
    full, narrow = (Subject(name, folder(name), float8=float8) for float8 in (False, True))
    saved = weight_bytes(full.renderer.transformers) - weight_bytes(narrow.renderer.transformers)
    in_float8 = [
        each.nbytes for each in narrow.weights().values() if each.dtype == torch.float8_e4m3fn
    ]
    assert saved == 3 * sum(in_float8)
    assert full.renderer.memory_bytes - narrow.renderer.memory_bytes == saved
    # In models of this size norms and embeddings are more than the small part that they are.
    for before, after in zip(full.renderer.transformers, narrow.renderer.transformers, strict=True):
        assert weight_bytes([last_block(after)]) < 0.6 * weight_bytes([last_block(before)])


def test_where_weights_wait_is_decided_by_what_they_take_in_float8(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = Subject("wan-t2v", folder("wan-t2v"), float8=True)
    free = int(narrow.renderer.memory_bytes / 0.7) + 2
    monkeypatch.setattr(placement, "find_room", lambda *_: free)
    whole = [
        Subject("wan-t2v", folder("wan-t2v"), float8=float8).renderer.memory_bytes
        for float8 in (True, False)
    ]
    assert whole[0] == narrow.renderer.memory_bytes, "nothing waits"
    assert whole[1] < whole[0], "full weights wait in host memory"


@pytest.mark.parametrize("offload", ["model", "group"])
def test_weights_that_wait_in_host_memory_make_the_same_clip(folder: Folder, offload: str) -> None:
    here = Subject("wan-t2v", folder("wan-t2v"), float8=True)
    waiting = Subject("wan-t2v", folder("wan-t2v"), float8=True, options={"offload": offload})
    assert largest_difference(here.render(), waiting.render()) <= 1


@pytest.mark.parametrize("name", ["wan-t2v", "ltx2", "cogvideox-t2v"])
def test_a_lora_works_at_full_precision_in_its_mode_alone(folder: Folder, name: str) -> None:
    plain = Subject(name, folder(name), float8=True)
    expected = plain.render()
    file = save_lora(folder(name), plain.renderer)
    model = BY_NAME[name]
    modes = {"standard": model.mode(6), "fast": model.mode(6, lora=file)}
    full, narrow = (
        Subject(name, folder(name), float8=float8, modes=modes) for float8 in (False, True)
    )
    assert np.array_equal(narrow.render(), expected)
    tuned = narrow.render(mode="fast")
    assert largest_difference(tuned, expected) > 0
    assert np.array_equal(narrow.render(), expected)
    full.round_like(narrow)
    assert largest_difference(full.render(mode="fast"), tuned) <= 1
    kept = {str(each.dtype) for key, each in narrow.weights().items() if "lora" in key}
    assert kept == {"torch.float32"}


@pytest.mark.parametrize("name", ["wan-t2v", "ltx2"])
def test_step_caches_skip_with_it_and_are_gone_afterwards(folder: Folder, name: str) -> None:
    narrow = Subject(name, folder(name), float8=True)
    expected = narrow.render()
    for kind in BY_NAME[name].caches:
        assert not np.array_equal(narrow.render(mode=kind), expected)
        assert np.array_equal(narrow.render(), expected)


def test_what_does_not_go_with_it_is_refused_by_name(folder: Folder) -> None:
    fast = {"num_inference_steps": 6, "compile": True}
    for changes, problem in (
        ({"modes": {"fast": fast}}, "mode fast: compile and option weights do not go together"),
        ({"options": {"weights": "int3"}}, "option weights must be float8, not int3"),
    ):
        with pytest.raises(LoadFailed, match=problem):
            Subject("wan-t2v", folder("wan-t2v"), float8=True, **changes)
