"""Memory that runs out while a clip is decoded, long after the call that made it returned."""

import multiprocessing
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gateway.protocol import FailureCode, LabelFields
from models.pipeline import Clip, Frame, OutOfMemory, StepCallback
from models.spec import Kind, Stage, VideoSpec
from tests.unit.workers.test_shelf import make_card
from workers.messages import Event, Failed, Finished, Render, RenderOrder, Stepped
from workers.rendering import Rendering
from workers.talk import Talk
from workers.writing import Desk


class Decoding:
    """Runs out of memory over the frames of prompt `big`, with `low_memory` only of `huge`."""

    memory_bytes = 0

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], bool]] = []

    def load(self, card: object, device: str) -> None:
        """There is nothing to load."""

    def generate(
        self,
        specs: Sequence[VideoSpec],
        on_step: StepCallback,  # noqa: ARG002  # the interface
        *,
        low_memory: bool = False,
    ) -> Sequence[Clip]:
        """Clips whose trouble begins when they are read."""
        self.calls.append(([spec.prompt for spec in specs], low_memory))
        return [Clip(_frames(spec, low_memory=low_memory), Fraction(4)) for spec in specs]


def _frames(spec: VideoSpec, *, low_memory: bool) -> Iterator[Frame]:
    for _ in range(spec.num_frames):
        yield np.zeros((spec.height, spec.width, 3), np.uint8)
        if spec.prompt == "huge" or (spec.prompt == "big" and not low_memory):
            raise OutOfMemory


@pytest.fixture
def renderer() -> Decoding:
    return Decoding()


def make_orders(folder: Path, *prompts: str) -> tuple[RenderOrder, ...]:
    """Jobs with these prompts."""
    orders = []
    for number, prompt in enumerate(prompts):
        (folder / f"{prompt}-1").mkdir()
        spec = make_card().example(
            kind=Kind.TEXT_TO_VIDEO, mode="standard", size="64x64", fps=4, seconds=1, prompt=prompt
        )
        label = LabelFields(producer="x", produce_id=str(number))
        orders.append(RenderOrder(prompt, 1, spec, label, folder / f"{prompt}-1", 0.0, 0.0))
    return tuple(orders)


def render(
    renderer: Decoding, folder: Path, *prompts: str, low_memory: bool = False
) -> list[Event]:
    """What the parent hears of jobs with these prompts, apart from steps."""
    orders = make_orders(folder, *prompts)
    ours, theirs = multiprocessing.Pipe()
    card = make_card().model_copy(update={"low_memory": {"slowly": True} if low_memory else {}})
    desk = Desk()
    Rendering(Render(card, orders), Talk(theirs), desk).run(renderer)
    desk.wait(lambda: None)
    theirs.close()
    heard: list[Event] = []
    while ours.poll():
        try:
            heard.append(ours.recv())
        except EOFError:
            break
    ours.close()
    return [event for event in heard if isinstance(event, Finished | Failed)]


@pytest.mark.parametrize(("num_previews", "shown"), [(2, ["a", "b"]), (1, [])])
def test_previews_are_shown_where_they_name_their_clips(
    tmp_path: Path, num_previews: int, shown: list[str]
) -> None:
    ours, theirs = multiprocessing.Pipe()
    orders = make_orders(tmp_path, "a", "b")
    rendering = Rendering(Render(make_card(), orders), Talk(theirs), Desk())
    rendering.step(Stage.DENOISING, 1, 2, [np.zeros((8, 8, 3), np.uint8)] * num_previews)
    stepped = ours.recv()
    assert isinstance(stepped, Stepped)
    assert stepped.job_ids == ("a", "b")
    assert [*stepped.previews] == shown


def test_only_the_clip_that_is_too_big_is_made_again(renderer: Decoding, tmp_path: Path) -> None:
    events = render(renderer, tmp_path, "a", "big", "b", low_memory=True)
    assert events == [Finished("a"), Finished("b"), Finished("big")]
    assert renderer.calls == [(["a", "big", "b"], False), (["big"], True)]


def test_without_a_preset_it_is_tried_alone(renderer: Decoding, tmp_path: Path) -> None:
    finished, failed = render(renderer, tmp_path, "a", "big")
    assert finished == Finished("a")
    assert isinstance(failed, Failed)
    assert (failed.code, failed.retryable) == (FailureCode.OUT_OF_MEMORY, False)
    assert renderer.calls == [(["a", "big"], False), (["big"], False)]


def test_less_memory_is_tried_once(renderer: Decoding, tmp_path: Path) -> None:
    [failed] = render(renderer, tmp_path, "huge", low_memory=True)
    assert isinstance(failed, Failed)
    assert renderer.calls == [(["huge"], False), (["huge"], True)]
