"""Cards: what a model can do, and the refusal of everything else, with limit and value."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.card import ModelCard, SpecError
from models.cardparts import parse_size
from models.catalog import load_catalog
from models.configfile import ConfigError
from models.spec import Kind, VideoSpec

SHIPPED = Path(__file__).parents[3] / "configs" / "models.yaml"
GOOD = """\
models:
  - id: reel-one
    title: One
    adapter: models.adapters.wan:WanAdapter
    checkpoint: weights/one
    licence: Apache-2.0
    kinds: [text_to_video]
    sizes: [64x96, 96x64]
    size_multiple: 32
    fps: [8, 16]
    seconds: [1, 2]
    num_frames: {multiple: 4, offset: 1, min: 5, max: 33}
    num_inference_steps: {min: 4, max: 50, default: 12}
    guidance_scale: {min: 1.0, max: 8.0, default: 3.0}
    max_prompt_chars: 20
    deadline_s: 60
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "models.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def card(write: Callable[[str], Path]) -> ModelCard:
    return load_catalog(write(GOOD)).default


def test_the_shipped_cards_are_valid() -> None:
    catalog = load_catalog(SHIPPED)
    assert catalog.default.id == "reel-tiny"
    assert catalog.find("reel-tiny") is catalog.default
    assert catalog.find("no-such-model") is None


@pytest.mark.parametrize(
    ("max_batch", "rooms", "most"),
    [
        ("", (1, 1), 1),
        ("max_batch: 4", (4, 4), 4),
        ("max_batch: {64x96: 3, 96x64: 2}", (3, 2), 3),
        ("max_batch: {96x64: 8}", (1, 8), 8),
    ],
)
def test_the_room_for_a_batch_may_depend_on_the_size(
    write: Callable[[str], Path], max_batch: str, rooms: tuple[int, int], most: int
) -> None:
    card = load_catalog(write(f"{GOOD}    {max_batch}\n")).default
    assert (card.batch_room("64x96"), card.batch_room("96x64")) == rooms
    assert card.max_room == most


@pytest.mark.parametrize(
    ("max_batch", "problem"),
    [
        ("0", "max_batch must be from 1 to 64"),
        ("65", "max_batch must be from 1 to 64"),
        ("{64x96: 0}", "max_batch must be from 1 to 64"),
        ("{64x64: 2}", "max_batch names 64x64, which sizes does not offer"),
    ],
)
def test_a_batch_table_that_fits_no_request_is_refused(
    write: Callable[[str], Path], max_batch: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_catalog(write(f"{GOOD}    max_batch: {max_batch}\n"))


@pytest.mark.parametrize(
    ("change", "is_alike"),
    [
        ({"prompt": "another", "seed": 9, "negative_prompt": "fog"}, True),
        ({"image": Path("first.png")}, True),
        ({"kind": Kind.IMAGE_TO_VIDEO}, False),
        ({"model": "reel-two"}, False),
        ({"width": 96, "height": 64}, False),
        ({"num_frames": 17}, False),
        ({"num_inference_steps": 13}, False),
        ({"guidance_scale": 3.5}, False),
        ({"fps": 16}, False),
    ],
)
def test_what_can_be_rendered_together_has_one_batch_key(
    card: ModelCard, change: dict[str, object], *, is_alike: bool
) -> None:
    spec = card.example(kind=Kind.TEXT_TO_VIDEO, mode="standard", size="64x96", fps=8, seconds=1)
    assert (spec.model_copy(update=change).batch_key == spec.batch_key) is is_alike


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("licence: Apache-2.0", "license: MIT", ":2: models.0.licence: Field required"),
        (
            "max_prompt_chars: 20",
            "max_prompt_chars: 0",
            ":2: models.0: Value error, max_prompt_chars",
        ),
        ("sizes: [64x96, 96x64]", "sizes: [64*96]", ":8: models.0.sizes: Value error, size must"),
        ("sizes: [64x96, 96x64]", "sizes: [64x80]", ":2: models.0: Value error, size 64x80 is not"),
        ("default: 12", "default: 51", ":13: models.0.num_inference_steps: Value error, need min"),
        ("seconds: [1, 2]", "seconds: [1, 3]", ":2: models.0: Value error, 3 s at 16 fps are 49"),
        ("fps: [8, 16]", "fps: [8, 15]", ":2: models.0: Value error, 1 s at 15 fps are 16 frames"),
        ("kinds: [text_to_video]", "kinds: [poem]", ":7: models.0.kinds.0: Input should be"),
        ("    title: One", "    title: One\n    title: Two", ":4: file: found duplicate key"),
        ("    title: One", "    title: [", ": file: "),
    ],
)
def test_every_mistake_is_reported_with_file_line_and_key(
    write: Callable[[str], Path], old: str, new: str, problem: str
) -> None:
    assert old in GOOD
    path = write(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as failure:
        load_catalog(path)
    assert f"{path}" in str(failure.value)
    assert problem in str(failure.value)


def test_all_mistakes_are_reported_at_once(write: Callable[[str], Path]) -> None:
    path = write(GOOD.replace("title: One", "titel: One").replace("[8, 16]", "[eight]"))
    with pytest.raises(ConfigError) as failure:
        load_catalog(path)
    keys = [problem.removeprefix(str(path)).split(": ")[1] for problem in failure.value.problems]
    assert sorted(keys) == ["models.0.fps.0", "models.0.titel", "models.0.title"]


def test_two_models_with_one_id_are_refused(write: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="two models share an id"):
        load_catalog(write(GOOD + GOOD.removeprefix("models:\n")))


def test_a_relative_checkpoint_starts_at_the_given_folder(card: ModelCard) -> None:
    assert card.checkpoint_path(Path("/srv")) == Path("/srv/weights/one")


def test_a_builtin_checkpoint_lies_in_the_package(card: ModelCard) -> None:
    builtin = card.model_copy(update={"checkpoint": "builtin:tiny"})
    assert builtin.checkpoint_path(Path("/srv")).parts[-3:] == ("models", "tiny", "checkpoint")


def _spec(**changes: object) -> VideoSpec:
    fields: dict[str, object] = {
        "kind": Kind.TEXT_TO_VIDEO,
        "model": "reel-one",
        "prompt": "a red fox",
        "width": 64,
        "height": 96,
        "num_frames": 17,
        "fps": 8,
        "num_inference_steps": 12,
        "guidance_scale": 3.0,
        "seed": 0,
    }
    return VideoSpec.model_validate(fields | changes)


def test_what_the_card_offers_passes(card: ModelCard) -> None:
    card.check(_spec())
    card.check(_spec(width=96, height=64, num_frames=33, fps=16, prompt="x" * 20))


@pytest.mark.parametrize(
    ("changes", "param", "limit", "value"),
    [
        ({"kind": Kind.IMAGE_TO_VIDEO}, "kind", ["text_to_video"], "image_to_video"),
        ({"prompt": " \n"}, "prompt", "1 character or more", ""),
        ({"prompt": "x" * 21}, "prompt", 20, 21),
        ({"negative_prompt": "x" * 21}, "negative_prompt", 20, 21),
        ({"width": 64, "height": 64}, "size", ["64x96", "96x64"], "64x64"),
        ({"fps": 24}, "fps", [8, 16], 24),
        ({"num_frames": 18}, "num_frames", "4k+1 from 5 to 33", 18),
        ({"num_frames": 1}, "num_frames", "4k+1 from 5 to 33", 1),
        ({"num_frames": 37}, "num_frames", "4k+1 from 5 to 33", 37),
        ({"num_inference_steps": 3}, "num_inference_steps", [4, 12], 3),
        ({"guidance_scale": 8.5}, "guidance_scale", [1.0, 8.0], 8.5),
    ],
)
def test_what_the_card_forbids_is_refused_with_limit_and_value(
    card: ModelCard, changes: dict[str, object], param: str, limit: object, value: object
) -> None:
    with pytest.raises(SpecError) as refusal:
        card.check(_spec(**changes))
    error = refusal.value
    assert (error.param, error.limit, error.value) == (param, limit, value)
    assert error.message == str(error)


RAISED = GOOD + "    enhance: {fps: [24, 30, 48], upscale: [2, 4]}\n"


def test_enhancement_adds_sizes_and_rates_behind_those_of_the_model(
    write: Callable[[str], Path],
) -> None:
    card = load_catalog(write(RAISED)).default
    assert card.size_sources == {
        "64x96": "64x96",
        "96x64": "96x64",
        "128x192": "64x96",
        "192x128": "96x64",
        "256x384": "64x96",
        "384x256": "96x64",
    }
    assert card.rate_sources == {8: 8, 16: 16, 24: 16, 30: 16, 48: 16}
    assert card.batch_room("256x384") == card.batch_room("64x96")


@pytest.mark.parametrize(
    ("width", "height", "fps", "num_frames", "native"),
    [
        (64, 96, 8, 17, ("64x96", 8, 17)),
        (192, 128, 16, 17, ("96x64", 16, 17)),
        (64, 96, 24, 25, ("64x96", 16, 17)),
        (256, 384, 48, 49, ("64x96", 16, 17)),
        (64, 96, 30, 31, ("64x96", 16, 17)),
    ],
)
def test_what_is_rendered_for_it_follows_from_the_card(
    write: Callable[[str], Path],
    width: int,
    height: int,
    fps: int,
    num_frames: int,
    native: tuple[str, int, int],
) -> None:
    card = load_catalog(write(RAISED)).default
    spec = _spec(width=width, height=height, fps=fps, num_frames=num_frames)
    card.check(spec)
    rendered = card.native(spec)
    assert (rendered.size, rendered.fps, rendered.num_frames) == native
    card.check(rendered)


@pytest.mark.parametrize(
    ("changes", "param", "limit", "value"),
    [
        ({"fps": 60}, "fps", [8, 16, 24, 30, 48], 60),
        ({"fps": 24, "num_frames": 17}, "num_frames", "6k+1 from 7 to 49", 17),
        ({"fps": 30, "num_frames": 32}, "num_frames", "15k+1 from 9 to 61", 32),
        ({"fps": 48, "num_frames": 109}, "num_frames", "12k+1 from 13 to 97", 109),
    ],
)
def test_what_enhancement_cannot_reach_is_refused_with_limit_and_value(
    write: Callable[[str], Path],
    changes: dict[str, object],
    param: str,
    limit: object,
    value: object,
) -> None:
    card = load_catalog(write(RAISED)).default
    with pytest.raises(SpecError) as refusal:
        card.check(_spec(**changes))
    assert (refusal.value.param, refusal.value.limit, refusal.value.value) == (param, limit, value)


@pytest.mark.parametrize(
    ("offer", "problem"),
    [
        ("{fps: [4]}", "enhance.fps 4 is below the model's own 8"),
        ("{upscale: [5]}", "models.0.enhance.upscale.0: Input should be 2, 3 or 4"),
        ("{network: magic}", "models.0.enhance.network: Input should be 'compact' or 'dense'"),
    ],
)
def test_an_offer_that_nothing_can_make_is_refused(
    write: Callable[[str], Path], offer: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        load_catalog(write(f"{GOOD}    enhance: {offer}\n"))


@pytest.mark.parametrize(
    "changes", [{"seed": -1}, {"seed": 2**32}, {"width": 0}, {"colour": "red"}]
)
def test_a_spec_that_no_card_could_allow_does_not_exist(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        _spec(**changes)


@pytest.mark.parametrize("size", ["64", "64X96", "64x", "x96", "-64x96", "64x96 ", "640000x96"])
def test_a_size_is_written_one_way(size: str) -> None:
    with pytest.raises(ValueError, match="64x96"):
        parse_size(size)


def test_a_size_is_width_and_height() -> None:
    assert parse_size("64x96") == (64, 96)
    assert _spec().size == "64x96"
