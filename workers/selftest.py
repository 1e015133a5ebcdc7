"""A render for nobody: whether this machine still makes the cheapest clip of a model."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from models.card import ModelCard
from models.cardparts import parse_size
from models.pipeline import Frame, VideoPipeline
from models.spec import Kind, Stage, VideoSpec


def run_self_test(pipeline: VideoPipeline, card: ModelCard) -> None:
    """Render the cheapest clip of `card` and look at every frame of it.

    A digital human would need a face and words of its own. That its networks were loaded, which
    has happened by now, is most of what can be wrong with a machine it runs on.

    Raises:
        Exception: whatever a job would have met.
    """
    if Kind.DIGITAL_HUMAN in card.kinds:
        return
    with tempfile.TemporaryDirectory() as folder:
        [clip] = pipeline.generate([cheapest_spec(card, Path(folder))], _ignore_step)
        for _ in clip.frames:
            pass


def cheapest_spec(card: ModelCard, folder: Path) -> VideoSpec:
    """The smallest, shortest clip in the fewest steps; the frames it needs lie in `folder`."""
    is_from_text = Kind.TEXT_TO_VIDEO in card.kinds
    spec = card.example(
        kind=Kind.TEXT_TO_VIDEO if is_from_text else card.kinds[0],
        mode=min(card.modes, key=card.steps_of),
        size=min(card.sizes, key=_num_pixels),
        fps=min(card.fps),
        seconds=min(card.seconds),
        prompt="a grey wall",
    )
    changes: dict[str, object] = {"num_inference_steps": card.fewest_steps_of(spec.mode)}
    if not is_from_text:
        changes["image"] = folder / "grey.png"
        if card.pictures.last_image == "needed":
            changes["last_image"] = folder / "grey.png"
        Image.new("RGB", (spec.width, spec.height), "grey").save(folder / "grey.png")
    return spec.model_copy(update=changes)


def _num_pixels(size: str) -> int:
    width, height = parse_size(size)
    return width * height


def _ignore_step(stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
    """Nobody watches."""
