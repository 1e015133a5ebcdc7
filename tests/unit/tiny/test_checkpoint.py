"""The shipped checkpoint loads offline as both stock pipelines and does as it is told."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from typing import TYPE_CHECKING

import diffusers
import pytest

from models.tiny.config import LATENT_CHANNELS, NUM_FAST_STEPS
from models.tiny.data import Combination, Thing, list_held_out
from models.tiny.evaluate import Scores, break_down, score
from models.tiny.export import FAST, digest, export
from models.tiny.generate import (
    Results,
    Task,
    draw_clip,
    run_autoencoder,
    run_image_to_video,
    run_text_to_video,
)
from models.tiny.outcomes import Outcome
from models.tiny.samplers import CHECKPOINT, SAMPLING, load_fast, load_pipelines
from models.tiny.thin import thin_decoder
from models.tiny.times import Times
from models.tiny.tracks import Stage
from tests.support.tiny import small_parts, small_vae

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.tiny.untyped import Pipeline

NUM_CASES = 10
MIN_RIGHT = 8
TASK = Task(list_held_out(NUM_CASES), seed=70)
ONE = Task(list_held_out(1), seed=3)
MAX_BYTES = 24_000_000


@pytest.fixture(scope="module", name="pipelines")
def _pipelines() -> Iterator[tuple[Pipeline, Pipeline]]:
    """Loads the folder twice, with no way to a hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield load_pipelines(CHECKPOINT)


def num_right(outcomes: list[Outcome], *attributes: str) -> int:
    """Counts the clips that show all the attributes as asked."""
    return sum(all(each.has(name) for name in attributes) for each in outcomes)


def rendered(wanted: Combination) -> Outcome:
    """A clip that shows a combination without any model."""
    return Outcome.read(wanted, draw_clip(Task([wanted]), 0))


def test_one_folder_is_both_stock_pipelines(pipelines: tuple[Pipeline, Pipeline]) -> None:
    text_to_video, image_to_video = pipelines
    assert type(text_to_video) is diffusers.WanPipeline
    assert type(image_to_video) is diffusers.WanImageToVideoPipeline
    for each in pipelines:
        assert each.config.expand_timesteps
        assert each.vae_scale_factor_spatial == 16
        assert each.vae_scale_factor_temporal == 4


def test_held_out_prompts_become_what_they_say(pipelines: tuple[Pipeline, Pipeline]) -> None:
    outcomes = run_text_to_video(pipelines[0], TASK)
    assert num_right(outcomes, "colour", "motion", "background") >= MIN_RIGHT


def test_a_given_image_moves_as_the_prompt_says(pipelines: tuple[Pipeline, Pipeline]) -> None:
    outcomes, psnr_db = run_image_to_video(pipelines[1], TASK)
    assert num_right(outcomes, "motion") >= MIN_RIGHT
    assert min(psnr_db) > 20, "the first frame is the given image"


def test_the_autoencoder_alone_keeps_every_shape(pipelines: tuple[Pipeline, Pipeline]) -> None:
    outcomes = run_autoencoder(pipelines[0], TASK)
    assert num_right(outcomes, "colour", "motion", "background") == NUM_CASES
    assert num_right(outcomes, "shape") >= NUM_CASES - 1


def test_the_same_seed_gives_the_same_clip(pipelines: tuple[Pipeline, Pipeline]) -> None:
    one, other = (run_text_to_video(pipelines[0], ONE)[0] for _ in range(2))
    assert (one.clip == other.clip).all()


def test_the_vocabulary_has_a_token_for_every_word_of_a_caption(
    pipelines: tuple[Pipeline, Pipeline],
) -> None:
    tokenizer = pipelines[0].tokenizer
    for prompt in Task(list_held_out(64)).prompts()[::2]:
        assert len(tokenizer(prompt).input_ids) == len(prompt.split()) + 1


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
    scores = Scores(
        num_clips=100,
        colour=0.94,
        motion=0.93,
        background=1.0,
        shape=0.41,
        count=0.99,
        relation=0.9,
        right=0.4,
        fast_right=0.35,
        image_to_video=0.97,
        num_blank_clips=2,
        first_frame_psnr_db=28.0,
        image_to_video_shape=0.6,
        picture_motion=0.7,
        picture_psnr_db=20.0,
        rebuilt_shape=0.99,
        rebuilt_right=0.98,
        clip_s=0.1,
        denoise_s=0.08,
        fast_clip_s=0.05,
        fast_denoise_s=0.03,
    )
    line = "tiny: colour .94 motion .93 background 1.00 shape .41 relation {} i2v .97"
    tail = " all .40 4-step .35 blank 2/100"
    assert scores.summary() == line.format(".90") + tail
    unrelated = dataclasses.replace(scores, relation=None)
    assert unrelated.summary() == line.format("-") + tail


def test_a_clip_with_a_blank_frame_counts_as_wrong(pipelines: tuple[Pipeline, Pipeline]) -> None:
    (good,) = run_text_to_video(pipelines[0], ONE)
    blank = Outcome.read(good.wanted, good.clip * 0)
    scores = score(Results([good, blank], *([good],) * 4, [30.0], [20.0], *[Times(0.1, 0.05)] * 2))
    assert scores.num_blank_clips == 1
    assert scores.colour == 0.5
    assert scores.right <= 0.5 * scores.fast_right


def test_one_thing_and_two_are_scored_apart() -> None:
    pair = (Thing("red", "circle", "right"), Thing("blue", "square", "still"))
    one = rendered(Combination(pair[:1], "white"))
    two = rendered(Combination(pair, "white", "above"))
    askew = Outcome(two.wanted._replace(relation="left of"), two.clip, two.reading, two.things)
    results = Results(
        [one, two, askew], [one], *([one],) * 3, [30.0], [20.0], *[Times(0.1, 0.05)] * 2
    )
    head, *rows = (" ".join(line.split()) for line in break_down(results))
    assert head == "clips blank colour motion background shape count relation placed all"
    assert rows == [
        "standard, one thing 1 0 1.00 1.00 1.00 1.00 1.00 - 1.00 1.00",
        "standard, two things 2 0 1.00 1.00 1.00 1.00 1.00 .50 .50 .50",
        "4 steps, one thing 1 0 1.00 1.00 1.00 1.00 1.00 - 1.00 1.00",
    ]


def test_four_steps_without_guidance_do_what_they_are_told(
    pipelines: tuple[Pipeline, Pipeline],
) -> None:
    pipeline, sampling = load_fast(CHECKPOINT, pipelines[0])
    assert sampling == {"num_inference_steps": NUM_FAST_STEPS, "guidance_scale": 1.0}
    outcomes = run_text_to_video(pipeline, TASK, **sampling)
    assert num_right(outcomes, "colour", "background") >= MIN_RIGHT


def test_a_checkpoint_without_a_student_takes_four_of_its_own_steps(
    pipelines: tuple[Pipeline, Pipeline], tmp_path: Path
) -> None:
    pipeline, sampling = load_fast(tmp_path, pipelines[0])
    assert pipeline is pipelines[0]
    assert sampling == {"num_inference_steps": NUM_FAST_STEPS}


def test_what_is_exported_loads_as_both_pipelines_with_its_student_in_any_size(
    tmp_path: Path,
) -> None:
    parts, folder = tmp_path / "parts", tmp_path / "checkpoint"
    trained = small_parts()
    small_vae().save_pretrained(parts / "vae")
    trained.transformer.save_pretrained(parts / "transformer")
    trained.transformer.save_pretrained(parts / FAST / "transformer")
    thin_decoder(small_vae(), 3).save_pretrained(parts / FAST / "vae")
    trained.text_encoder.save_pretrained(parts / "text_encoder")
    statistics = {"latents_mean": [0.5] * LATENT_CHANNELS, "latents_std": [2.0] * LATENT_CHANNELS}
    (parts / "latents.json").write_text(json.dumps(statistics))
    export(parts, folder)
    text_to_video, image_to_video = load_pipelines(folder)
    assert text_to_video.vae.config.latents_std == [2.0] * LATENT_CHANNELS
    fast, sampling = load_fast(folder, text_to_video)
    assert fast.scheduler.config.solver_order == 1
    assert fast.vae.config.latents_std == text_to_video.vae.config.latents_std
    assert (fast.vae.config.decoder_base_dim, text_to_video.vae.config.decoder_base_dim) == (3, 4)
    assert text_to_video.scheduler.config.solver_order == 2, "it keeps its own"
    task = Task(list_held_out(2), Stage(96, 64, 9), seed=1)
    for pipeline, extra in ((text_to_video, {}), (fast, sampling)):
        outcomes = run_text_to_video(pipeline, task, **{"num_inference_steps": 2} | extra)
        assert [each.clip.shape for each in outcomes] == [(9, 64, 96, 3)] * 2
    (given, _), _ = run_image_to_video(image_to_video, task, num_inference_steps=2)
    assert given.clip.shape == (9, 64, 96, 3)
    assert SAMPLING["num_inference_steps"] == 12
    shutil.rmtree(folder / FAST / "vae")
    assert load_fast(folder, text_to_video)[0].vae is text_to_video.vae
