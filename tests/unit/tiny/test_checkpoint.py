"""The shipped checkpoint loads offline as both stock pipelines and does as it is told."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import diffusers
import pytest

from models.tiny.data import list_held_out
from models.tiny.evaluate import (
    CHECKPOINT,
    Outcome,
    Results,
    Scores,
    load_pipelines,
    run_autoencoder,
    run_image_to_video,
    run_text_to_video,
    score,
)
from models.tiny.export import digest
from models.tiny.tokenizer import build_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.tiny.untyped import Pipeline

NUM_CASES = 10
MIN_RIGHT = 8
SEED = 70
MAX_BYTES = 12_000_000


@pytest.fixture(scope="module", name="pipelines")
def _pipelines() -> Iterator[tuple[Pipeline, Pipeline]]:
    """Loads the folder twice, with no way to a hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield load_pipelines(CHECKPOINT)


def num_right(outcomes: list[Outcome], *attributes: str) -> int:
    """Counts the clips that show all the attributes as asked."""
    return sum(all(each.has(name) for name in attributes) for each in outcomes)


def test_one_folder_is_both_stock_pipelines(pipelines: tuple[Pipeline, Pipeline]) -> None:
    text_to_video, image_to_video = pipelines
    assert type(text_to_video) is diffusers.WanPipeline
    assert type(image_to_video) is diffusers.WanImageToVideoPipeline
    for each in pipelines:
        assert each.config.expand_timesteps
        assert each.vae_scale_factor_spatial == 16
        assert each.vae_scale_factor_temporal == 4


def test_held_out_prompts_become_what_they_say(pipelines: tuple[Pipeline, Pipeline]) -> None:
    outcomes = run_text_to_video(pipelines[0], list_held_out()[:NUM_CASES], SEED)
    assert num_right(outcomes, "colour", "motion", "background") >= MIN_RIGHT


def test_a_given_image_moves_as_the_prompt_says(pipelines: tuple[Pipeline, Pipeline]) -> None:
    outcomes, psnr_db = run_image_to_video(pipelines[1], list_held_out()[:NUM_CASES], SEED)
    assert num_right(outcomes, "motion") >= MIN_RIGHT
    assert min(psnr_db) > 20, "the first frame is the given image"


def test_the_autoencoder_alone_keeps_every_shape(pipelines: tuple[Pipeline, Pipeline]) -> None:
    outcomes = run_autoencoder(pipelines[0], list_held_out()[:NUM_CASES], SEED)
    assert num_right(outcomes, "colour", "motion", "background") == NUM_CASES
    assert num_right(outcomes, "shape") >= NUM_CASES - 1


def test_the_same_seed_gives_the_same_clip(pipelines: tuple[Pipeline, Pipeline]) -> None:
    one, other = (run_text_to_video(pipelines[0], list_held_out()[:1], 3)[0] for _ in range(2))
    assert (one.clip == other.clip).all()


def test_the_shipped_tokenizer_is_the_one_in_the_code(pipelines: tuple[Pipeline, Pipeline]) -> None:
    assert pipelines[0].tokenizer.get_vocab() == build_tokenizer().get_vocab()


def test_the_weights_are_small_half_precision_and_as_the_model_card_says() -> None:
    card = (CHECKPOINT / "README.md").read_text()
    for path, checksum in digest(CHECKPOINT).items():
        assert f"`{checksum}`" in card, path
    assert sum(path.stat().st_size for path in CHECKPOINT.rglob("*.safetensors")) < MAX_BYTES


def test_no_file_says_where_it_was_made() -> None:
    for path in CHECKPOINT.rglob("*.json"):
        assert "_name_or_path" not in json.loads(path.read_text())
        assert not re.search(r'": "/', path.read_text()), path


def test_the_closing_line_is_short_and_stable() -> None:
    scores = Scores(100, 0.94, 0.93, 1.0, 0.41, 0.97, 2, 28.0, 0.6, 0.99, 0.1)
    assert scores.summary() == (
        "tiny: colour .94 motion .93 background 1.00 shape .41 i2v .97 blank 2/100"
    )


def test_a_clip_with_a_blank_frame_counts_as_wrong(pipelines: tuple[Pipeline, Pipeline]) -> None:
    (good,) = run_text_to_video(pipelines[0], list_held_out()[:1], 3)
    blank = Outcome.read(good.wanted, good.clip * 0)
    scores = score(Results([good, blank], [good], [good], [30.0], 0.1))
    assert scores.num_blank_clips == 1
    assert scores.colour <= 0.5
