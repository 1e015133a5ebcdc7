"""Blocks compiled in the modes that say so and no others, with the frames of blocks that are not.

Compiled for the CPU, which the adapters themselves do not: what is shown is that nothing else
changes, not that it is faster.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch._dynamo.utils import counters

from models.adapters.denoisers import repeated_blocks
from models.adapters.family import DiffusersAdapter
from models.adapters.quirks import Loaded
from models.card import ModelCard
from models.modes import Compilation, Mode
from models.pipeline import LoadFailed
from models.registry import create_pipeline
from models.spec import Stage
from tests.support.renderers import (
    MODELS,
    StoppedError,
    Video,
    Watcher,
    largest_difference,
    video,
)

BY_NAME = {model.name: model for model in MODELS}
TEXT = BY_NAME["wan-t2v"]
STEPS = 3
MODES = {
    "standard": TEXT.mode(STEPS),
    "compiled": TEXT.mode(STEPS, compile=True),
    "tuned": TEXT.mode(STEPS, compile={"mode": "max-autotune-no-cudagraphs", "dynamic": False}),
}

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no compiler of C++"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wan from text."""
    made = tmp_path_factory.mktemp("wan")
    TEXT.save(made)
    return made


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The CPU counts as a device to compile for; what was compiled is forgotten afterwards."""
    monkeypatch.setattr(Loaded, "is_on_gpu", property(lambda _: True))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with torch._inductor.config.patch(compile_threads=1):
        yield
    torch.compiler.reset()


def load(folder: Path, modes: dict[str, Any] = MODES) -> tuple[DiffusersAdapter, ModelCard]:
    card = TEXT.card(folder, modes=modes)
    renderer = create_pipeline(card)
    assert isinstance(renderer, DiffusersAdapter)
    renderer.load(card, "cpu")
    return renderer, card


def num_graphs() -> int:
    """How many were compiled in this process."""
    return int(counters["stats"]["unique_graphs"])


def renders(renderer: DiffusersAdapter, card: ModelCard) -> Callable[[str], tuple[Video, int]]:
    """Renders in a mode: the frames, and how many graphs were compiled for them."""

    def render(mode: str) -> tuple[Video, int]:
        before = num_graphs()
        [clip] = renderer.generate([TEXT.spec(card, Path(), mode=mode)], Watcher())
        return video(clip), num_graphs() - before

    return render


@needs_compiler
@pytest.mark.slow
@pytest.mark.timeout(900)
# PyTorch warns of what it does itself when its compiler is imported.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.usefixtures("compiling")
def test_compiled_blocks_make_the_frames_of_those_that_are_not(folder: Path) -> None:
    renderer, card = load(folder)
    render = renders(renderer, card)
    plain, none = render("standard")
    compiled, some = render("compiled")
    assert (none, some > 0) == (0, True)
    assert largest_difference(compiled, plain) <= 1
    again, more = render("standard")
    assert np.array_equal(again, plain), "as if nothing had been compiled"
    repeated, later = render("compiled")
    assert np.array_equal(repeated, compiled)
    assert (more, later) == (0, 0), "once is enough"
    tuned, others = render("tuned")
    assert others > 0, "each mode in its own way"
    assert largest_difference(tuned, plain) <= 1
    assert np.array_equal(render("compiled")[0], compiled)


@pytest.mark.usefixtures("compiling")
def test_a_canceled_batch_leaves_no_block_compiled(folder: Path) -> None:
    renderer, card = load(folder)
    [transformer] = renderer.transformers
    blocks = repeated_blocks(transformer)
    seen: list[bool] = []

    def stop(stage: Stage, _done: int, _total: int, previews: object = ()) -> None:
        del previews
        seen.append(all(block._compiled_call_impl for block in blocks))
        if stage is Stage.DENOISING and len(seen) > 1:
            raise StoppedError

    assert len(blocks) == 2
    compile_nothing = torch.compiler.set_stance("force_eager")
    with compile_nothing, pytest.raises(StoppedError):
        renderer.generate([TEXT.spec(card, Path(), mode="compiled")], stop)
    assert seen == [False, True]
    assert not any(block._compiled_call_impl for block in blocks)


def test_nothing_is_compiled_for_a_cpu(folder: Path) -> None:
    render = renders(*load(folder))
    (plain, _), (compiled, num) = render("standard"), render("compiled")
    assert np.array_equal(plain, compiled)
    assert num == 0


def test_true_is_short_for_the_settings_of_pytorch() -> None:
    ways: list[object] = [True, {}, False]
    modes = [Mode.model_validate({"num_inference_steps": 4, "compile": how}) for how in ways]
    assert [mode.compile for mode in modes] == [Compilation(), Compilation(), None]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"compile": {"mode": "reduce-overhead"}}, "compile.mode"),
        ({"compile": "yes"}, "compile"),
        ({"compile": True, "cache": {"kind": "taylor"}}, "a cache and compile do not go together"),
    ],
)
def test_what_cannot_be_compiled_so_is_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Mode.model_validate({"num_inference_steps": 4, **changes})


def test_a_family_without_repeated_blocks_is_refused_by_its_mode(tmp_path: Path) -> None:
    model = BY_NAME["cogvideox-t2v"]
    model.save(tmp_path)
    card = model.card(tmp_path, modes={"fast": model.mode(4, compile=True)})
    with pytest.raises(LoadFailed, match=r"mode fast: compile: .* has no blocks to compile"):
        create_pipeline(card).load(card, "cpu")


def test_layers_that_come_one_by_one_are_not_compiled(folder: Path) -> None:
    card = TEXT.card(folder, modes=MODES, options={"offload": "group"})
    with pytest.raises(LoadFailed, match="mode compiled: compile and offload group do not go"):
        create_pipeline(card).load(card, "cpu")


def test_compilation_is_no_option_of_a_whole_card(folder: Path) -> None:
    card = TEXT.card(folder, options={"compile": True})
    with pytest.raises(LoadFailed, match="options must leave out compile"):
        create_pipeline(card).load(card, "cpu")
