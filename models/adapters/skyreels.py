"""SkyReels-V2 with diffusion forcing: clips longer than the model sees, window after window.

Its latents are Wan's, and so is the way they become frames.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from diffusers import (
    SkyReelsV2DiffusionForcingImageToVideoPipeline,
    SkyReelsV2DiffusionForcingPipeline,
)
from typing_extensions import override

from models.adapters.common import load_image, refuse_pictures
from models.adapters.family import DiffusersAdapter
from models.adapters.fitting import Grid
from models.adapters.placement import bring
from models.adapters.previews import PreviewMaker, TwoPointPrediction
from models.adapters.quirks import Loaded, Sample
from models.adapters.wan_decode import decode_pictures, decode_tiled, stream_decode
from models.card import ModelCard
from models.cardparts import Pictures
from models.pipeline import Frame, StepCallback
from models.spec import Kind, VideoSpec

WINDOW = {"base_num_frames": 97, "overlap_history": 17, "addnoise_condition": 20}
"""Frames that the model sees at once, frames that one window takes over from the one before, and
the noise put on these, in thousandths: the recommendations of its authors for 540p."""


class SkyReelsAdapter(DiffusersAdapter):
    """Renders with SkyReels-V2 DF; all frames of a window are denoised together.

    Options of a card: those of `WINDOW`.
    """

    classes: ClassVar[tuple[str, ...]] = (
        "SkyReelsV2DiffusionForcingPipeline",
        "SkyReelsV2DiffusionForcingImageToVideoPipeline",
    )
    # The first-block hook is not made for its blocks (diffusers 0.42).
    caches: ClassVar[frozenset[str]] = frozenset({"taylor"})
    options: ClassVar[frozenset[str]] = DiffusersAdapter.options | frozenset(WINDOW)

    @override
    def stock_class(self, class_name: str) -> Any:
        return SkyReelsV2DiffusionForcingPipeline

    @override
    def derive(self, pipe: Any, kind: Kind) -> Any:
        if kind is Kind.IMAGE_TO_VIDEO:
            return SkyReelsV2DiffusionForcingImageToVideoPipeline(**pipe.components)
        return pipe

    @override
    def find_kinds(self, pipe: Any) -> frozenset[Kind]:
        return frozenset({Kind.TEXT_TO_VIDEO, Kind.IMAGE_TO_VIDEO})

    @override
    def find_pictures(self, pipe: Any) -> Pictures:
        return Pictures(last_image="taken")

    @override
    def find_grid(self, pipe: Any) -> Grid:
        side = pipe.vae_scale_factor_spatial * pipe.transformer.config.patch_size[1]
        return Grid(pixels=side, frames=pipe.vae_scale_factor_temporal)

    @override
    def find_problem(self, card: ModelCard, pipe: Any) -> str | None:
        window, stride = _window(card), pipe.vae_scale_factor_temporal
        for name in ("base_num_frames", "overlap_history"):
            if window[name] % stride != 1:
                return f"option {name} must be a multiple of {stride}, plus 1"
        if window["overlap_history"] >= window["base_num_frames"]:
            return "option overlap_history must be below base_num_frames"
        return None

    @override
    def can_batch(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> bool:
        # Noise on what a window takes over comes from one generator for all.
        is_short = specs[0].num_frames <= _window(loaded.card)["base_num_frames"]
        return is_short and specs[0].kind is Kind.TEXT_TO_VIDEO

    @override
    def count_steps(self, card: ModelCard, pipe: Any, first: VideoSpec) -> int:
        window, stride = _window(card), pipe.vae_scale_factor_temporal
        base, overlap, frames = (
            (each - 1) // stride + 1
            for each in (window["base_num_frames"], window["overlap_history"], first.num_frames)
        )
        windows = 1 if frames <= base else 2 + (frames - base - 1) // (base - overlap)
        return windows * first.num_inference_steps

    @override
    def read_inputs(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> dict[str, Any]:
        first = specs[0]
        has_image = first.kind is Kind.IMAGE_TO_VIDEO
        refuse_pictures(specs, last_image=has_image)
        arguments: dict[str, Any] = {"fps": first.fps, **_window(loaded.card)}
        if has_image:
            arguments["image"] = load_image(first.image, first.width, first.height)
            if first.last_image is not None:
                last = load_image(first.last_image, first.width, first.height, "last_image")
                arguments["last_image"] = last
        return arguments

    @override
    def call(self, pipe: Any, arguments: dict[str, Any]) -> list[Sample]:
        # The noise put on a window's past comes from the generator of the whole process.
        seeds = [generator.initial_seed() for generator in arguments["generator"]]
        devices = [pipe.device] if pipe.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seeds[0])
            samples = super().call(pipe, arguments)
        # A given last frame stands once more behind the clip.
        frames = (arguments["num_frames"] - 1) // pipe.vae_scale_factor_temporal + 1
        return [Sample(sample.video[:, :, :frames]) for sample in samples]

    @override
    def make_previews(self, first: VideoSpec) -> PreviewMaker:
        is_first_given = first.kind is Kind.IMAGE_TO_VIDEO

        def show(pipe: Any, clean: torch.Tensor) -> Sequence[Frame]:  # noqa: ANN401 -- untyped
            bring(pipe.vae)
            return decode_pictures(pipe.vae, clean, clean.shape[2] // 2 if is_first_given else 0)

        return PreviewMaker(first.num_inference_steps, TwoPointPrediction(), show)

    @override
    def decode(
        self, pipe: Any, sample: Sample, on_step: StepCallback, *, is_tiled: bool
    ) -> Iterator[Frame]:
        bring(pipe.vae)
        return (decode_tiled if is_tiled else stream_decode)(pipe.vae, sample.video, on_step)


def _window(card: ModelCard) -> dict[str, int]:
    return {name: int(card.options.get(name, value)) for name, value in WINDOW.items()}
