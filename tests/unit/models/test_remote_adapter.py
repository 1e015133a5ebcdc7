"""Other servers behind our queue: what they are asked, and what their answers become."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.adapters.remote import RemoteAdapter
from models.card import ModelCard, SpecError
from models.pipeline import (
    Canceled,
    CheckFailed,
    Clip,
    EngineFailed,
    Frame,
    InputRefused,
    LoadFailed,
    NamedRenderer,
    OutOfMemory,
    VideoPipeline,
)
from models.refusal import Refusal
from models.registry import create_pipeline
from models.spec import Kind, Stage, VideoSpec
from tests.support.engines import MODEL, Engine, SGLangDiffusion, VllmOmni
from tests.support.serving import serving

Serve = Callable[[Engine], str]
BOTH = pytest.mark.parametrize("kind", [SGLangDiffusion, VllmOmni])
Steps = list[tuple[Stage, int, int]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Puts an engine on a port; its URL."""
    with ExitStack() as stack:
        yield lambda engine: stack.enter_context(serving(engine.app()))


def card_of(url: str, **changes: object) -> ModelCard:
    """A card of an engine at `url`; `options` adds to its options."""
    options = {"base_url": url, "model": MODEL, "poll_s": 0.01, "patience_s": 0.2}
    fields: dict[str, object] = {
        "id": "wan-elsewhere",
        "title": "Wan on another machine",
        "adapter": "models.adapters.remote:RemoteAdapter",
        "licence": "Apache-2.0",
        "kinds": ["text_to_video"],
        "sizes": ["64x48"],
        "size_multiple": 16,
        "fps": [8],
        "seconds": [1],
        "num_frames": {"multiple": 4, "offset": 1, "min": 5, "max": 17},
        "num_inference_steps": {"min": 1, "max": 50, "default": 4},
        "modes": {"standard": 4, "pro": 8},
        "guidance_scale": {"min": 1.0, "max": 8.0, "default": 3.0},
        "max_prompt_chars": 100,
        "max_batch": 4,
        "deadline_s": 60,
        **changes,
    }
    more = fields.pop("more_options", {})
    assert isinstance(more, dict)
    return ModelCard.model_validate({**fields, "options": options | more})


def spec_of(**changes: object) -> VideoSpec:
    fields: dict[str, object] = {
        "kind": Kind.TEXT_TO_VIDEO,
        "model": "wan-elsewhere",
        "prompt": "a red fox runs",
        "negative_prompt": "blurry",
        "width": 64,
        "height": 48,
        "num_frames": 9,
        "fps": 8,
        "num_inference_steps": 4,
        "guidance_scale": 3.0,
        "seed": 7,
    }
    return VideoSpec.model_validate(fields | changes)


def loaded(card: ModelCard) -> RemoteAdapter:
    adapter = RemoteAdapter()
    adapter.load(card, "cpu")
    return adapter


def ignore(_stage: Stage, _done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
    """Nobody watches."""


def read(clip: Clip) -> np.ndarray:
    return np.stack(list(clip.frames))


@BOTH
def test_an_engine_is_asked_for_exactly_the_spec(kind: type[Engine], serve: Serve) -> None:
    engine = kind()
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    frames = read(clip)
    [(fields, files, headers)] = engine.submits
    assert fields == {
        "model": MODEL,
        "prompt": "a red fox runs",
        "negative_prompt": "blurry",
        "size": "64x48",
        "num_frames": "9",
        "fps": "8",
        "num_inference_steps": "4",
        "guidance_scale": "3.0",
        "seed": "7",
    }
    assert not files
    assert "authorization" not in headers
    assert frames.shape == (9, 48, 64, 3)
    assert frames.dtype == np.uint8
    assert clip.fps == 8
    levels = frames.mean(axis=(1, 2, 3))
    assert levels == pytest.approx(np.arange(9) * 10, abs=2)


@BOTH
def test_the_engine_keeps_nothing_of_a_video_that_was_read(
    kind: type[Engine], serve: Serve
) -> None:
    engine = kind()
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    assert not engine.removed
    read(clip)
    assert engine.removed == ["video_1"]


@BOTH
def test_progress_is_passed_on(kind: type[Engine], serve: Serve) -> None:
    steps: Steps = []

    def note(stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        steps.append((stage, done, total))

    loaded(card_of(serve(kind(looks=4)))).generate([spec_of()], note)
    assert steps[0] == (Stage.LOADING, 0, 1), "it waits for its turn there"
    running = [done for stage, done, total in steps if (stage, total) == (Stage.RENDERING, 100)]
    assert {0, 25, 50, 75, 100} <= set(running)
    assert running == sorted(running)


def test_text_goes_as_json_where_the_card_says_so(serve: Serve) -> None:
    engine = SGLangDiffusion()
    card = card_of(serve(engine), more_options={"body": "json"})
    loaded(card).generate([spec_of()], ignore)
    assert engine.submits[0][0]["num_frames"] == 9
    assert engine.submits[0][0]["guidance_scale"] == 3.0


@BOTH
def test_a_first_frame_goes_along(kind: type[Engine], serve: Serve, tmp_path: Path) -> None:
    engine = kind(task="TI2V")
    Image.new("RGB", (80, 60), "red").save(tmp_path / "first.png")
    card = card_of(serve(engine), kinds=["text_to_video", "image_to_video"])
    spec = spec_of(kind=Kind.IMAGE_TO_VIDEO, image=tmp_path / "first.png")
    [clip] = loaded(card).generate([spec], ignore)
    assert len(read(clip)) == 9
    sent = engine.submits[0][1]["input_reference"]
    assert Image.open(io.BytesIO(sent)).size == (80, 60)


@BOTH
def test_sound_comes_along(kind: type[Engine], serve: Serve) -> None:
    [clip] = loaded(card_of(serve(kind(sound=True)))).generate([spec_of()], ignore)
    assert clip.audio is not None
    assert clip.audio.sample_rate == 48_000
    assert clip.audio.samples.dtype == np.float32
    assert clip.audio.samples.shape[0] == 2
    assert clip.audio.samples.shape[1] / 48_000 == pytest.approx(9 / 8, abs=0.05)
    assert np.abs(clip.audio.samples).max() == pytest.approx(0.5, abs=0.1)


def test_another_mode_is_named_and_the_default_is_not(serve: Serve) -> None:
    engine = SGLangDiffusion()
    adapter = loaded(card_of(serve(engine)))
    adapter.generate([spec_of()], ignore)
    adapter.generate([spec_of(mode="pro", num_inference_steps=8)], ignore)
    assert [fields.get("mode") for fields, _, _ in engine.submits] == [None, "pro"]


@BOTH
def test_a_cancel_reaches_the_engine(kind: type[Engine], serve: Serve) -> None:
    engine = kind(looks=1000)

    def cancel(stage: Stage, done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        if stage is Stage.RENDERING:
            raise Canceled

    adapter = loaded(card_of(serve(engine)))
    with pytest.raises(Canceled):
        adapter.generate([spec_of(), spec_of(seed=8)], cancel)
    assert engine.removed == ["video_1", "video_2"]
    engine.looks = 0
    [clip] = adapter.generate([spec_of()], ignore)
    assert len(read(clip)) == 9, "the adapter is ready for the next batch"


# What can go wrong there


@BOTH
def test_a_failed_job_is_an_engine_that_failed(kind: type[Engine], serve: Serve) -> None:
    engine = kind(failure=(None, "CUBLAS_STATUS_EXECUTION_FAILED"))
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    with pytest.raises(EngineFailed, match="CUBLAS_STATUS"):
        read(clip)


@BOTH
def test_memory_that_ran_out_there_is_memory_that_ran_out(kind: type[Engine], serve: Serve) -> None:
    engine = kind(failure=(None, "CUDA out of memory. Tried to allocate 2 GiB"))
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    with pytest.raises(OutOfMemory):
        read(clip)


def test_a_job_that_vllm_refused_late_is_the_inputs_fault(serve: Serve) -> None:
    engine = VllmOmni(failure=(400, "blocked by guardrail"))
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    with pytest.raises(SpecError, match="guardrail"):
        read(clip)


FASTAPI_422 = {
    "detail": [
        {"type": "int_parsing", "loc": ["body", "num_frames"], "msg": "no int", "input": "x"}
    ]
}
REELGATE_400 = {
    "error": {
        "message": "reel renders at [8] fps, not 9",
        "type": "invalid_request_error",
        "code": "invalid_parameter",
        "param": "fps",
        "limit": [8],
        "value": 9,
        "request_id": "r",
    }
}


@pytest.mark.parametrize(
    ("status", "body", "param"),
    [
        (422, FASTAPI_422, "num_frames"),
        (400, REELGATE_400, "fps"),
        (403, {"error": {**REELGATE_400["error"], "code": "plan_limit"}}, "fps"),
        (400, {"detail": "Failed to process image source: broken"}, "parameters"),
    ],
)
def test_a_refusal_names_the_parameter(
    status: int, body: dict[str, object], param: str, serve: Serve
) -> None:
    engine = SGLangDiffusion(refusal=(status, body))
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    with pytest.raises(SpecError) as caught:
        read(clip)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, {"error": {"message": "no such key", "code": "invalid_api_key"}}),
        (402, {"error": {"message": "12 points are needed", "code": "insufficient_points"}}),
        (404, {"detail": "Not Found"}),
        (400, {"error": {"message": "no model", "param": "model", "code": "model_not_found"}}),
        (503, {"detail": "Video generation handler not initialized."}),
    ],
)
def test_what_no_job_is_to_blame_for_is_a_lost_engine(
    status: int, body: dict[str, object], serve: Serve
) -> None:
    engine = SGLangDiffusion(refusal=(status, body))
    with pytest.raises(LoadFailed, match=f"status {status}"):
        loaded(card_of(serve(engine))).generate([spec_of()], ignore)


def test_a_broken_engine_is_one_that_failed(serve: Serve) -> None:
    engine = SGLangDiffusion(refusal=(500, {"detail": "boom"}))
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    with pytest.raises(EngineFailed, match="boom"):
        read(clip)


def test_one_bad_job_leaves_the_others_of_its_batch_alone(serve: Serve) -> None:
    engine = VllmOmni()
    adapter = loaded(card_of(serve(engine)))
    good, bad = adapter.generate([spec_of(), spec_of(prompt=" x ")], _and_break(engine))
    assert len(read(good)) == 9
    with pytest.raises(EngineFailed):
        read(bad)


def _and_break(engine: Engine) -> Callable[..., None]:
    """A step callback that has the engine forget its second job."""

    def forget(*_step: object, previews: Sequence[Frame] = ()) -> None:
        del previews
        engine.jobs.pop("video_2", None)

    return forget


def test_a_busy_engine_is_asked_again(serve: Serve) -> None:
    engine = SGLangDiffusion(refusal=(429, {"detail": "queue is full"}))

    def make_room(stage: Stage, _done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        if stage is Stage.LOADING and len(engine.submits) == 3:
            engine.refusal = None

    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], make_room)
    assert len(read(clip)) == 9
    assert len(engine.submits) == 4


def test_an_engine_may_be_away_for_a_moment(serve: Serve) -> None:
    engine = SGLangDiffusion(looks=3)
    calls = []

    def blink(*_step: object, previews: Sequence[Frame] = ()) -> None:
        del previews
        calls.append(1)
        engine.is_down = 2 <= len(calls) <= 4

    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], blink)
    assert len(read(clip)) == 9
    assert len(engine.submits) == 1


def test_an_engine_that_stays_away_keeps_the_job_for_the_next_attempt(serve: Serve) -> None:
    engine = SGLangDiffusion(looks=1000)
    adapter = loaded(card_of(serve(engine)))

    def die(stage: Stage, _done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        engine.is_down = stage is Stage.RENDERING or engine.is_down

    with pytest.raises(LoadFailed):
        adapter.generate([spec_of()], die)
    assert list(engine.jobs) == ["video_1"]


@pytest.mark.parametrize("num_frames", [5, 13])
def test_a_video_of_another_length_is_refused(num_frames: int, serve: Serve) -> None:
    engine = SGLangDiffusion(num_frames=num_frames)
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    with pytest.raises(CheckFailed, match="frames"):
        read(clip)


def test_a_video_of_another_size_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SGLangDiffusion()
    render = engine.render
    monkeypatch.setattr(engine, "render", lambda asked: render({**asked, "size": "64x64"}))
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    with pytest.raises(CheckFailed, match="64x64, not 64x48"):
        read(clip)


def test_something_else_than_a_video_is_refused(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SGLangDiffusion()
    monkeypatch.setattr(engine, "render", lambda _asked: b"<html>sorry</html>")
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    with pytest.raises(EngineFailed, match="not a video"):
        read(clip)


def test_a_refused_face_keeps_its_name(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SGLangDiffusion(failure=(None, "no face"))
    error = {"code": "no_face", "message": "The picture shows no face."}
    monkeypatch.setattr(engine, "failed", lambda job: {**job, "status": "failed", "error": error})
    [clip] = loaded(card_of(serve(engine))).generate([spec_of()], ignore)
    with pytest.raises(InputRefused) as caught:
        read(clip)
    assert caught.value.code is Refusal.NO_FACE


# Before the first job


@BOTH
def test_an_engine_that_is_not_ready_does_not_load(kind: type[Engine], serve: Serve) -> None:
    with pytest.raises(LoadFailed, match=r"wan-elsewhere: .*not ready: status 503"):
        loaded(card_of(serve(kind(is_ready=False))))


@BOTH
def test_a_model_that_is_not_there_is_named(kind: type[Engine], serve: Serve) -> None:
    card = card_of(serve(kind()), more_options={"model": "Wan-AI/another"})
    with pytest.raises(LoadFailed, match=f"serves {MODEL}, not Wan-AI/another"):
        loaded(card)


def test_nobody_there_does_not_load() -> None:
    with pytest.raises(LoadFailed, match="does not answer: ConnectError"):
        loaded(card_of("http://127.0.0.1:9"))


def test_a_card_may_not_offer_what_the_engine_does_not_make(serve: Serve) -> None:
    card = card_of(serve(SGLangDiffusion()), kinds=["text_to_video", "image_to_video"])
    with pytest.raises(LoadFailed, match="does not make image_to_video"):
        loaded(card)


def test_a_card_may_not_offer_pictures_that_are_not_sent(serve: Serve) -> None:
    card = card_of(serve(SGLangDiffusion()), pictures={"last_image": "taken"})
    with pytest.raises(LoadFailed, match="pictures must be left out"):
        loaded(card)


def test_options_are_needed() -> None:
    with pytest.raises(LoadFailed, match="options need base_url"):
        loaded(card_of("", more_options={"base_url": "elsewhere"}))


def test_the_key_comes_from_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SGLangDiffusion()
    card = card_of(serve(engine), more_options={"api_key_env": "ENGINE_KEY"})
    monkeypatch.delenv("ENGINE_KEY", raising=False)
    with pytest.raises(LoadFailed, match="the environment has no ENGINE_KEY"):
        loaded(card)
    monkeypatch.setenv("ENGINE_KEY", "sk-secret")
    loaded(card).generate([spec_of()], ignore)
    assert engine.submits[0][2]["authorization"] == "Bearer sk-secret"


def enhanced(url: str) -> tuple[VideoPipeline, VideoSpec]:
    """The renderer of a card that offers enhancement, and a spec that makes use of it."""
    card = card_of(url, enhance={"upscale": [2]})
    renderer = create_pipeline(card)
    renderer.load(card, "cpu")
    return renderer, spec_of(width=128, height=96)


def test_enhancement_keeps_what_an_engine_is_owed(serve: Serve) -> None:
    engine = SGLangDiffusion(looks=0)
    renderer, spec = enhanced(serve(engine))
    assert isinstance(renderer, NamedRenderer)
    [clip] = renderer.generate_named(["job_7"], [spec], ignore)
    assert {frame.shape for frame in clip.frames} == {(96, 128, 3)}
    [(_, _, headers)] = engine.submits
    assert headers["idempotency-key"] == "job_7"
    assert engine.removed == ["video_1"]


def test_too_many_frames_of_an_engine_are_refused_when_they_are_enhanced_too(serve: Serve) -> None:
    renderer, spec = enhanced(serve(SGLangDiffusion(looks=0, num_frames=13)))
    [clip] = renderer.generate([spec], ignore)
    with pytest.raises(CheckFailed, match="more than 9 frames"):
        list(clip.frames)
