"""What every renderer promises, held against every family with random weights."""

import gc
import shutil
import socket
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from structlog.testing import capture_logs
from torch._subclasses import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

from models.adapters import family
from models.adapters.family import DiffusersAdapter
from models.card import ModelCard, SpecError
from models.pipeline import LoadFailed, VideoPipeline
from models.registry import create_pipeline
from models.spec import Keyframe, Kind, Stage
from tests.support.renderers import (
    MODELS,
    STEPS,
    Model,
    StoppedError,
    Watcher,
    count_encodings,
    largest_difference,
    save_lora,
    save_picture,
    video,
)

MAX_TOKENS = {"max_sequence_length"}
_folders: dict[Any, Path] = {}


class Subject:
    """A loaded renderer, its model, its card, and a picture."""

    def __init__(
        self, model: Model, folder: Path, picture: Path, options: dict[str, object] | None = None
    ) -> None:
        self.model, self.folder, self.picture = model, folder, picture
        self.card = model.card(folder, options=model.options | (options or {}))
        self.renderer: VideoPipeline = create_pipeline(self.card)
        self.renderer.load(self.card, "cpu")

    def anew(self, **options: object) -> "Subject":
        """The same with these options of the card, loaded once more."""
        return Subject(self.model, self.folder, self.picture, options)

    def render(self, *changes: dict[str, object], on_step: Watcher | None = None) -> list[Any]:
        """One clip for each of `changes` of the usual spec, as whole videos."""
        specs = [self.model.spec(self.card, self.picture, **each) for each in changes or ({},)]
        clips = self.renderer.generate(specs, on_step or Watcher())
        return [video(clip) for clip in clips]


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.name)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """Every model in turn."""
    model: Model = request.param
    if model.save not in _folders:
        _folders[model.save] = tmp_path_factory.mktemp(f"{model.name}-random-weights")
        model.save(_folders[model.save])
    picture = save_picture(tmp_path_factory.mktemp("pictures") / "red.png", (250, 60, 30))
    return Subject(model, _folders[model.save], picture)


def test_the_checkpoint_is_small(subject: Subject) -> None:
    files = [path for path in subject.folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 20_000_000


def test_a_clip_has_exactly_its_geometry_and_the_same_bits_every_time(subject: Subject) -> None:
    spec = subject.model.spec(subject.card, subject.picture)
    [first], [again], [other] = (subject.render({"seed": seed}) for seed in (1, 1, 2))
    assert first.shape == (spec.num_frames, spec.height, spec.width, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert largest_difference(first, other) > 3


def test_every_kind_of_the_card_is_rendered(subject: Subject) -> None:
    for kind in subject.card.kinds:
        image = subject.picture if kind is Kind.IMAGE_TO_VIDEO else None
        last = {"last_image": None} if image is None else {}
        [clip] = subject.render({"kind": kind, "image": image, **last})
        assert clip.std() > 0


def test_the_given_picture_decides_the_clip(subject: Subject, tmp_path: Path) -> None:
    if subject.model.kinds[-1] is not Kind.IMAGE_TO_VIDEO:
        pytest.skip("it takes no picture")
    blue = save_picture(tmp_path / "blue.png", (10, 60, 250))
    [clip] = subject.render()
    for name in ("image", *subject.model.pictures):
        given = (blue,) if name == "reference_images" else blue
        [changed] = subject.render({name: given})
        assert largest_difference(clip, changed) > 0, f"{name} is ignored"


def test_guidance_in_one_call_makes_the_same_clip(subject: Subject) -> None:
    changes: dict[str, object] = {"guidance_scale": 3.0, "negative_prompt": "blur"}
    fused = subject.anew(fuse_guidance=True)
    assert largest_difference(*subject.render(changes), *fused.render(changes)) <= 1


def test_keyframes_decide_the_clip_or_are_refused_at_the_load(subject: Subject) -> None:
    given: dict[str, object] = {"keyframes": (Keyframe(frame=3, image=subject.picture),)}
    with pytest.raises(SpecError, match="takes no keyframes"):
        subject.render(given)
    plain = subject.model.card(subject.folder)
    pictures = plain.pictures.model_copy(update={"keyframes": 2})
    card = plain.model_copy(update={"pictures": pictures})
    renderer = create_pipeline(card)
    if not subject.model.takes_keyframes:
        with pytest.raises(LoadFailed, match="keyframes must be 0 at most"):
            renderer.load(card, "cpu")
        return
    renderer.load(card, "cpu")
    for kind in card.kinds:
        image = subject.picture if kind is Kind.IMAGE_TO_VIDEO else None
        specs = [
            subject.model.spec(
                card, subject.picture, kind=kind, image=image, last_image=None, **places
            )
            for places in (
                given,
                given,
                {"keyframes": (Keyframe(frame=4, image=subject.picture),)},
                {},
            )
        ]
        clip, again, *others = (video(renderer.generate([spec], Watcher())[0]) for spec in specs)
        assert np.array_equal(clip, again)
        assert all(largest_difference(clip, other) > 0 for other in others)


def test_a_batch_equals_its_clips_rendered_alone(subject: Subject) -> None:
    changes: list[dict[str, object]] = [{}, {"prompt": "a blue whale", "seed": 8}]
    batch = subject.render(*changes)
    for clip, change in zip(batch, changes, strict=True):
        assert largest_difference(clip, subject.render(change)[0]) <= 1
    assert largest_difference(*batch) > 3


def test_a_prompt_is_encoded_once_and_changes_no_bit(subject: Subject) -> None:
    keeping = subject.anew(offload="model")
    forgetting = subject.anew(offload="model", prompt_cache_bytes=0)
    counts = [count_encodings(each.renderer) for each in (keeping, forgetting)]
    said: list[dict[str, object]] = [{}, {}, {"seed": 8}, {"prompt": "a blue whale"}]
    for say in said:
        [kept], [made] = keeping.render(say), forgetting.render(say)
        assert np.array_equal(kept, made), say
    # Two prompts and the negative one of all of them; without a cache two for every clip.
    assert [count() for count in counts] == [3, 8]
    batch: list[dict[str, object]] = [{}, {"prompt": "a green snail"}]
    for kept, made in zip(keeping.render(*batch), forgetting.render(*batch), strict=True):
        assert np.array_equal(kept, made), "one of two was kept"
    assert [count() for count in counts] == [4, 12]


def test_without_guidance_no_negative_prompt_is_encoded(subject: Subject) -> None:
    fresh = subject.anew(prompt_cache_bytes=0)
    encodings = count_encodings(fresh.renderer)
    fresh.render({"guidance_scale": 1.0})
    assert encodings() == 1


def test_prompts_are_encoded_as_the_pipeline_itself_would(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    change: dict[str, object] = {"negative_prompt": "fog"}
    [expected] = subject.render(change)
    lengths = {key: subject.card.options[key] for key in MAX_TOKENS & subject.card.options.keys()}

    def words(*given: Any) -> dict[str, Any]:
        arguments = given[-1]
        [prompt], [negative] = arguments["prompt"], arguments["negative_prompt"]
        return {**arguments, "prompt": prompt, "negative_prompt": negative, **lengths}

    monkeypatch.setattr(family, "with_embeddings", words)
    assert np.array_equal(subject.render(change)[0], expected)


def test_kept_prompts_are_counted_and_go_with_their_renderer(subject: Subject) -> None:
    gc.collect()
    before = _tensor_bytes()
    fresh = subject.anew()
    weights = fresh.renderer.memory_bytes
    for prompt in ("a red fox runs", "a blue whale"):
        fresh.render({"prompt": prompt})
    kept = fresh.renderer.memory_bytes - weights
    assert 0 < kept < 2_000_000
    fresh.render({"seed": 9})
    assert fresh.renderer.memory_bytes - weights == kept, "nothing is kept twice"
    del fresh
    assert _tensor_bytes() <= before


def test_a_canceled_batch_leaves_no_trace(subject: Subject) -> None:
    # What caches remember is the likeliest trace.
    for mode in subject.model.caches:
        [expected] = subject.render({"mode": mode})
        for stop_at in (0, 3):
            watcher = Watcher(stop_at=stop_at)
            with pytest.raises(StoppedError):
                subject.render({"mode": mode, "seed": 99}, on_step=watcher)
            assert watcher.steps[-1][:2] == (Stage.DENOISING, stop_at), "it stopped at once"
        assert np.array_equal(subject.render({"mode": mode})[0], expected)


def test_progress_counts_up_to_its_total_in_every_stage(subject: Subject) -> None:
    watcher = Watcher()
    subject.render(on_step=watcher)
    for stage in (Stage.DENOISING, Stage.DECODING):
        counts = [(done, total) for each, done, total in watcher.steps if each is stage]
        if stage is Stage.DENOISING:
            assert counts[0] == (0, STEPS + subject.model.num_later_steps)
        assert [done for done, _ in counts] == sorted({done for done, _ in counts})
        assert counts[-1][0] == counts[-1][1]


def test_previews_arrive_in_pictures_of_the_clip(subject: Subject) -> None:
    card = subject.model.card(
        subject.folder,
        num_inference_steps={"min": 2, "max": 12, "default": 12},
        modes={"standard": subject.model.mode(12)},
    )
    watcher = Watcher()
    spec = subject.model.spec(card, subject.picture)
    renderer = create_pipeline(card)
    renderer.load(card, "cpu")
    renderer.generate([spec], watcher)
    assert len(watcher.previews) == 1
    # What the first of two passes makes is shown as it is.
    scale = 2 if subject.model.num_later_steps else 1
    assert watcher.previews[0].shape == (spec.height // scale, spec.width // scale, 3)
    assert watcher.previews[0].std() > 0


def test_a_step_cache_skips_something_and_is_gone_afterwards(subject: Subject) -> None:
    [plain] = subject.render()
    for kind in subject.model.caches:
        with capture_logs() as logs:
            [cached] = subject.render({"mode": kind})
        [said] = [line for line in logs if line["event"] == "step_cache"]
        assert 0 < said["skipped"] < said["calls"], kind
        assert not np.array_equal(cached, plain), kind
        assert np.array_equal(subject.render()[0], plain), kind


def test_sound_lasts_as_long_as_the_picture_or_is_refused(subject: Subject) -> None:
    spec = subject.model.spec(subject.card, subject.picture, generate_audio=True)
    if subject.card.audio != "out":
        with pytest.raises(SpecError) as refusal:
            subject.renderer.generate([spec], Watcher())
        assert (refusal.value.param, refusal.value.value) == ("generate_audio", True)
        return
    [clip] = subject.renderer.generate([spec], Watcher())
    assert clip.audio is not None
    samples, rate = clip.audio.samples, clip.audio.sample_rate
    assert samples.shape == (2, round(spec.num_frames / spec.fps * rate))
    assert samples.dtype == np.float32
    assert 0 < np.abs(samples).max() <= 1
    [silent] = subject.renderer.generate(
        [spec.model_copy(update={"generate_audio": False})], Watcher()
    )
    assert silent.audio is None
    assert np.array_equal(video(silent), video(clip)), "sound changes no frame"


def test_a_render_leaves_no_tensor_behind(subject: Subject) -> None:
    gc.collect()
    # What lives now is out of sight of the collector, which lists only what comes later.
    gc.freeze()
    try:
        subject.render()
        before = _tensor_bytes()
        with pytest.raises(StoppedError):
            subject.render({"seed": 12}, on_step=Watcher(stop_at=2))
        subject.render({"seed": 11})
        assert _tensor_bytes() <= before, "beside what a scheduler remembers of its last clip"
    finally:
        gc.unfreeze()


def test_neither_loading_nor_rendering_asks_the_network(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def note(*address: object) -> NoReturn:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", note)
    monkeypatch.setattr(socket, "getaddrinfo", note)
    Subject(subject.model, subject.folder, subject.picture).render()
    assert asked == []


@pytest.mark.parametrize("change", [{"num_frames": 8}, {"width": 72}, {"guidance_scale": 9.0}])
def test_what_would_be_rounded_or_ignored_is_refused_before_work(
    subject: Subject, change: dict[str, object]
) -> None:
    watcher = Watcher()
    with pytest.raises(SpecError):
        subject.render(change, on_step=watcher)
    assert watcher.steps == []


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"size_multiple": 2}, "size_multiple must be a multiple of"),
        ({"num_frames": {"multiple": 1, "min": 1, "max": 99}}, "num_frames must be a multiple of"),
        ({"options": {"colour": "red"}}, "options must leave out colour"),
        ({"options": {"offload": "moon"}}, "option offload must be auto, none, model, group"),
        ({"options": {"dtype": "int3"}}, "option dtype must be one of"),
        ({"options": {"prompt_cache_bytes": -1}}, "option prompt_cache_bytes must be 0 or more"),
        ({"options": {"threads": 0}}, "option threads must be from 1 to 256"),
        ({"low_memory": {"batch": 1}}, "low_memory must leave out batch"),
    ],
)
def test_a_card_that_does_not_fit_its_weights_is_refused_by_its_key(
    subject: Subject, change: dict[str, object], remedy: str
) -> None:
    card = subject.model.card(subject.folder, **change)
    with pytest.raises(LoadFailed, match=remedy):
        create_pipeline(card).load(card, "cpu")


def test_sound_is_offered_only_by_a_model_that_makes_it(subject: Subject) -> None:
    card = subject.model.card(subject.folder, audio="out")
    renderer = create_pipeline(card)
    assert isinstance(renderer, DiffusersAdapter)
    if renderer.makes_sound:
        renderer.load(card, "cpu")
        return
    with pytest.raises(LoadFailed, match="audio must not be out"):
        renderer.load(card, "cpu")


def test_a_folder_of_another_family_or_without_weights_is_refused(
    subject: Subject, tmp_path: Path
) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "MochiPipeline"}', encoding="utf-8")
    for folder, message in ((tmp_path, "holds a MochiPipeline"), (tmp_path / "no", "no model_ind")):
        card: ModelCard = subject.model.card(folder)
        with pytest.raises(LoadFailed, match=message):
            create_pipeline(card).load(card, "cpu")


def test_cut_off_weights_are_a_failed_load(subject: Subject, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(subject.folder, folder)
    [weights] = (folder / "transformer").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    card = subject.model.card(folder)
    with pytest.raises(LoadFailed, match="check that the folder is complete"):
        create_pipeline(card).load(card, "cpu")


@pytest.mark.parametrize("offload", ["model", "group"])
def test_weights_that_wait_in_host_memory_make_the_same_clip(
    subject: Subject, offload: str
) -> None:
    [expected] = subject.render()
    card = subject.model.card(subject.folder, options={**subject.model.options, "offload": offload})
    renderer = create_pipeline(card)
    renderer.load(card, "cpu")
    [clip] = renderer.generate([subject.model.spec(card, subject.picture)], Watcher())
    assert largest_difference(video(clip), expected) <= 1


def test_a_lora_works_in_its_mode_alone(subject: Subject) -> None:
    if not subject.model.takes_lora:
        pytest.skip("diffusers reads none for it")
    file = save_lora(subject.folder, subject.renderer)
    modes = {"standard": subject.model.mode(3), "fast": subject.model.mode(3, lora=file)}
    card = subject.model.card(subject.folder, modes=modes)
    renderer = create_pipeline(card)
    renderer.load(card, "cpu")
    plain, changed, again = (
        video(
            renderer.generate([subject.model.spec(card, subject.picture, mode=mode)], Watcher())[0]
        )
        for mode in ("standard", "fast", "standard")
    )
    [expected] = subject.render({"num_inference_steps": 3})
    assert np.array_equal(plain, expected), "as if it had not been read"
    assert np.array_equal(plain, again)
    assert not np.array_equal(plain, changed)


def test_a_lora_of_other_weights_is_refused_by_its_mode(subject: Subject) -> None:
    strange = {"transformer.nowhere.0.to_q.lora_A.weight": torch.zeros(4, 8)}
    strange["transformer.nowhere.0.to_q.lora_B.weight"] = torch.zeros(8, 4)
    save_file(strange, subject.folder / "strange.safetensors")
    messages = {"strange": "does not fit these weights", "gone": "is not in"}
    if not subject.model.takes_lora:
        messages = {"strange": "is of no use: .* takes no LoRA"}
    for file, message in messages.items():
        mode = {"num_inference_steps": 3, "lora": f"{file}.safetensors"}
        card = subject.model.card(subject.folder, modes={"fast": mode})
        with pytest.raises(LoadFailed, match=f"mode fast: lora {file}.safetensors {message}"):
            create_pipeline(card).load(card, "cpu")


def _tensor_bytes() -> int:
    gc.collect()
    held = [each for each in gc.get_objects() if _has_data(each)]
    return sum({each.data_ptr(): each.nbytes for each in held}.values())


def _has_data(thing: object) -> bool:
    """Whether it is a tensor, and not one of the shapes that compilation leaves in a process."""
    kind = type(thing)
    if not issubclass(kind, torch.Tensor) or issubclass(kind, FakeTensor | FunctionalTensor):
        return False
    assert isinstance(thing, torch.Tensor)
    return not torch._is_functional_tensor(thing)
