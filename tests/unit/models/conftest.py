"""Cards, specs and step callbacks for the fixture checkpoint."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from models.card import ModelCard
from models.pipeline import Frame, StepCallback
from models.spec import Kind, Stage, VideoSpec
from tests.support.checkpoints.wan import save_ti2v


@pytest.fixture(scope="session")
def wan_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fixture checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("wan-random-weights")
    save_ti2v(folder)
    return folder


CardFactory = Callable[..., ModelCard]
SpecFactory = Callable[..., VideoSpec]


@pytest.fixture(scope="session")
def make_card(wan_folder: Path) -> CardFactory:
    """A card of the fixture checkpoint; keywords replace fields."""

    def make(**changes: object) -> ModelCard:
        fields: dict[str, object] = {
            "id": "wan-random",
            "title": "Random weights",
            "adapter": "models.adapters.wan:WanAdapter",
            "checkpoint": str(wan_folder),
            "licence": "Apache-2.0",
            "kinds": ["text_to_video", "image_to_video"],
            "sizes": ["64x96", "64x64"],
            "size_multiple": 32,
            "fps": [8],
            "seconds": [1],
            "num_frames": {"multiple": 4, "offset": 1, "min": 5, "max": 17},
            "num_inference_steps": {"min": 2, "max": 8, "default": 3},
            "modes": {"standard": 8},
            "guidance_scale": {"min": 1.0, "max": 8.0, "default": 3.0},
            "max_prompt_chars": 100,
            "max_batch": 4,
            "deadline_s": 60,
            "options": {"max_sequence_length": 32},
        }
        return ModelCard.model_validate(fields | changes)

    return make


@pytest.fixture(scope="session")
def make_spec() -> SpecFactory:
    """A spec that the fixture card allows; keywords replace fields."""

    def make(**changes: object) -> VideoSpec:
        fields: dict[str, object] = {
            "kind": Kind.TEXT_TO_VIDEO,
            "model": "wan-random",
            "prompt": "a red fox runs",
            "width": 64,
            "height": 96,
            "num_frames": 9,
            "fps": 8,
            "num_inference_steps": 3,
            "guidance_scale": 3.0,
            "seed": 7,
        }
        return VideoSpec.model_validate(fields | changes)

    return make


Steps = list[tuple[Stage, int, int]]


@pytest.fixture
def steps() -> Steps:
    """The calls of `note_step`, in order."""
    return []


@pytest.fixture
def note_step(steps: Steps) -> StepCallback:
    """A step callback that remembers its calls."""

    def note(stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        steps.append((stage, done, total))

    return note


@pytest.fixture
def ignore_steps() -> StepCallback:
    """A step callback that never stops anything."""

    def ignore(_stage: Stage, _done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews

    return ignore


@pytest.fixture
def forbid_steps() -> StepCallback:
    """A step callback for what must be refused before any work."""

    def fail(stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        pytest.fail(f"work began: {stage} {done}/{total}")

    return fail
