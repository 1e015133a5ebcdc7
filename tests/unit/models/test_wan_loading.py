"""A worker that cannot load its model says which folder is at fault and what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file

from models.adapters.wan import WanAdapter, derive_image_to_video
from models.card import ModelCard
from models.pipeline import LoadFailed
from models.registry import create_pipeline

MakeCard = Callable[..., ModelCard]


def _failure(card: ModelCard) -> str:
    with pytest.raises(LoadFailed) as failure:
        WanAdapter().load(card, "cpu")
    return str(failure.value)


def test_a_missing_folder_is_named_with_the_remedy(make_card: MakeCard) -> None:
    message = _failure(make_card(checkpoint="/nowhere/wan"))
    assert message == (
        "model wan-random: no model_index.json in /nowhere/wan: "
        "put a diffusers folder there, or change `checkpoint` in the model card"
    )


def test_a_relative_checkpoint_starts_at_the_working_folder(
    make_card: MakeCard, wan_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(wan_folder.parent)
    WanAdapter().load(make_card(checkpoint=wan_folder.name), "cpu")


def test_missing_weights_of_the_package_call_for_a_new_installation(make_card: MakeCard) -> None:
    message = _failure(make_card(checkpoint="builtin:no-such-model"))
    assert "its weights belong to the package; install it again" in message


def test_an_index_that_is_not_json_is_named(make_card: MakeCard, tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{", encoding="utf-8")
    assert "model_index.json is broken" in _failure(make_card(checkpoint=str(tmp_path)))


def test_another_family_is_refused_before_its_weights_are_read(
    make_card: MakeCard, tmp_path: Path
) -> None:
    index = {"_class_name": "LTXPipeline"}
    (tmp_path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    assert "holds a LTXPipeline" in _failure(make_card(checkpoint=str(tmp_path)))


@pytest.mark.parametrize("part", ["transformer", "vae", "text_encoder"])
def test_a_part_that_lacks_some_of_its_weights_is_named_with_them(
    make_card: MakeCard, wan_folder: Path, tmp_path: Path, part: str
) -> None:
    folder = tmp_path / "holes"
    shutil.copytree(wan_folder, folder)
    [file] = (folder / part).glob("*.safetensors")
    weights = load_file(file)
    lost = sorted(weights)[3]
    del weights[lost]
    save_file(weights, file, metadata={"format": "pt"})
    message = _failure(make_card(checkpoint=str(folder)))
    assert f"{part} has no {lost} in its files, 1 are missing" in message


def test_pickled_weights_are_not_read(
    make_card: MakeCard, wan_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(wan_folder, folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert "does not load" in _failure(make_card(checkpoint=str(folder)))


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"size_multiple": 16}, "size_multiple must be a multiple of 32"),
        (
            {"num_frames": {"multiple": 2, "offset": 1, "min": 5, "max": 17}},
            "num_frames must be a multiple of 4, plus 1",
        ),
        (
            {"num_frames": {"multiple": 4, "offset": 0, "min": 4, "max": 16}},
            "num_frames must be a multiple of 4, plus 1",
        ),
    ],
)
def test_a_card_that_allows_what_would_be_rounded_is_refused(
    make_card: MakeCard, changes: dict[str, object], remedy: str
) -> None:
    assert remedy in _failure(make_card(**changes))


def test_a_text_only_checkpoint_does_not_serve_image_to_video(
    make_card: MakeCard, wan_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "text-only"
    shutil.copytree(wan_folder, folder)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    index["expand_timesteps"] = False
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    card = make_card(checkpoint=str(folder))
    assert "kinds must leave out image_to_video" in _failure(card)
    WanAdapter().load(make_card(checkpoint=str(folder), kinds=["text_to_video"]), "cpu")


def test_a_class_that_is_not_installed_is_a_failed_load(make_card: MakeCard) -> None:
    with pytest.raises(LoadFailed, match=r"models\.adapters\.nothing:Nothing is not usable"):
        create_pipeline(make_card(adapter="models.adapters.nothing:Nothing"))


def test_image_to_video_shares_the_weights_and_keeps_their_precision(wan_folder: Path) -> None:
    dtypes = {"default": torch.bfloat16, "vae": torch.float32}
    text_to_video = WanPipeline.from_pretrained(wan_folder, dtype=dtypes)
    image_to_video = derive_image_to_video(text_to_video)
    assert image_to_video.transformer is text_to_video.transformer
    assert image_to_video.transformer.dtype == torch.bfloat16
    assert image_to_video.vae.dtype == torch.float32
    assert image_to_video.config.expand_timesteps is True
