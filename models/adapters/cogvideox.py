"""CogVideoX: from text, or from a first frame with the checkpoints made for it."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from typing_extensions import override

from models.adapters.common import load_first_frame, memory_errors_named, refuse_pictures
from models.adapters.family import DiffusersAdapter
from models.adapters.fitting import Grid
from models.adapters.pixels import decode_whole, to_frames
from models.adapters.placement import bring
from models.adapters.previews import PreviewMaker, TwoPointPrediction
from models.adapters.quirks import Loaded, Sample
from models.pipeline import Frame, StepCallback
from models.spec import Kind, Stage, VideoSpec

KINDS = {
    "CogVideoXPipeline": Kind.TEXT_TO_VIDEO,
    "CogVideoXImageToVideoPipeline": Kind.IMAGE_TO_VIDEO,
}


class CogVideoXAdapter(DiffusersAdapter):
    """Renders with CogVideoX 2B and 5B, and 1.5."""

    classes: ClassVar[tuple[str, ...]] = tuple(KINDS)
    float32_parts: ClassVar[tuple[str, ...]] = ()

    @override
    def find_kinds(self, pipe: Any) -> frozenset[Kind]:
        return frozenset({KINDS[type(pipe).__name__]})

    @override
    def find_grid(self, pipe: Any) -> Grid:
        side = pipe.vae_scale_factor_spatial * pipe.transformer.config.patch_size
        return Grid(pixels=side, frames=pipe.vae_scale_factor_temporal)

    @override
    def read_inputs(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> dict[str, Any]:
        refuse_pictures(specs)
        if specs[0].kind is Kind.TEXT_TO_VIDEO:
            return {}
        images = [load_first_frame(spec.image, spec.width, spec.height) for spec in specs]
        return {"image": torch.stack(images)}

    @override
    def call(self, pipe: Any, arguments: dict[str, Any]) -> list[Sample]:
        frames = (arguments["num_frames"] - 1) // pipe.vae_scale_factor_temporal + 1
        latents = pipe(**arguments, output_type="latent").frames.transpose(1, 2)
        # What 1.5 pads to come out even stands at the beginning.
        latents = latents[:, :, latents.shape[2] - frames :]
        return [Sample(latents[row : row + 1]) for row in range(len(latents))]

    @override
    def make_previews(self, first: VideoSpec) -> PreviewMaker:
        is_first_given = first.kind is Kind.IMAGE_TO_VIDEO

        def show(pipe: Any, clean: torch.Tensor) -> Sequence[Frame]:  # noqa: ANN401 -- untyped
            frame = clean.shape[1] // 2 if is_first_given else 0
            latents = clean[:, frame : frame + 1].transpose(1, 2)
            with memory_errors_named("a preview"):
                pixels = _decode(pipe.vae, latents)
                return [clip[0] for clip in to_frames(pixels)]

        return PreviewMaker(first.num_inference_steps, TwoPointPrediction(), show)

    @override
    def decode(
        self, pipe: Any, sample: Sample, on_step: StepCallback, *, is_tiled: bool
    ) -> Iterator[Frame]:
        vae = pipe.vae
        if is_tiled:
            return decode_whole(lambda: _decode(vae, sample.video), on_step)
        return stream_decode(vae, sample.video, on_step)


def stream_decode(
    vae: Any,  # noqa: ANN401 -- diffusers is untyped
    latents: torch.Tensor,
    on_step: StepCallback,
) -> Iterator[Frame]:
    """Decode one clip while its frames are read, with the arithmetic of the autoencoder itself.

    Args:
        vae: an autoencoder that works a few latent frames at a time and remembers between them.
        latents: [1, C, F, h, w], as the pipeline samples them.
        on_step: called with `Stage.DECODING` after each part.

    Yields:
        uint8 [H, W, 3], RGB.

    Raises:
        OutOfMemory: the device has too little room for one part.
    """
    scaled = _scaled(vae, latents)
    at_once, total = vae.num_latent_frames_batch_size, scaled.shape[2]
    # The first part takes what does not divide.
    starts = [0, *range(at_once + total % at_once, total, at_once)]
    ends = [*starts[1:], total]
    memory = None
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1):
        with memory_errors_named("decoding a part of a clip"), torch.inference_mode():
            bring(vae)
            part = scaled[:, :, start:end]
            if vae.post_quant_conv is not None:
                part = vae.post_quant_conv(part)
            pixels, memory = vae.decoder(part, conv_cache=memory)
            [frames] = to_frames(pixels)
        on_step(Stage.DECODING, number, len(starts))
        yield from frames


def _decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- untyped
    bring(vae)
    pixels: torch.Tensor = vae.decode(_scaled(vae, latents)).sample
    return pixels


def _scaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- untyped
    scaled: torch.Tensor = latents.to(vae.dtype) / vae.config.scaling_factor
    return scaled
