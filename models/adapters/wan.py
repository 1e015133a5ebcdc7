"""Wan: text, a first frame, first and last, or references, whatever its folder can do.

| index of the folder | checkpoints | kinds |
|---|---|---|
| WanPipeline, expand_timesteps | Wan 2.2 TI2V | text, first frame |
| WanPipeline | Wan 2.1 T2V, Wan 2.2 T2V (two experts) | text |
| WanImageToVideoPipeline | Wan 2.1 I2V and FLF2V, Wan 2.2 I2V (two experts) | first frame, last |
| WanVACEPipeline | Wan 2.1 VACE | text and references, first frame, last |

The pipelines are the stock ones of diffusers. They sample latents; `wan_decode` turns these into
frames while they are read.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

import diffusers
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline
from PIL import Image
from typing_extensions import override

from models.adapters.common import load_first_frame, load_image, refuse_pictures
from models.adapters.family import DiffusersAdapter
from models.adapters.fitting import Grid
from models.adapters.onednn import convolve_by_onednn
from models.adapters.placement import bring
from models.adapters.previews import PreviewMaker, find_prediction
from models.adapters.quirks import Loaded, Sample
from models.adapters.wan_batch import decode_batch
from models.adapters.wan_decode import decode_pictures, decode_tiled, stream_decode
from models.card import SpecError
from models.cardparts import MAX_REFERENCES, LastFrame, Pictures
from models.pipeline import Frame, StepCallback
from models.spec import Kind, VideoSpec

VACE = "WanVACEPipeline"
GREY = (128, 128, 128)
"""What VACE was trained to read as: not given."""


class PerRowImageToVideo(WanImageToVideoPipeline):  # type: ignore[misc]  # diffusers is untyped
    """`WanImageToVideoPipeline` with a first frame for every clip of a batch.

    The stock class encodes one image for all. It draws noise and encodes the image in
    `prepare_latents` alone, so calling that once per clip is enough.
    """

    def prepare_latents(
        self,
        image: torch.Tensor,
        batch_size: int,  # noqa: ARG002  # the images say it too
        *rest: object,
    ) -> tuple[torch.Tensor, ...]:
        """Noise, clean first latents and the mask that tells them apart, of the whole batch.

        Args:
            image: [N, 3, H, W] in [-1, 1].
            batch_size: N.
            *rest: six numbers and places, then the generators, latents that we never give, and
                the last frame, in the order of the one upstream call.
        """
        *shape, generators, latents, last_image = rest
        per_clip = zip(
            torch.split(image, 1), cast("list[torch.Generator]", generators), strict=True
        )
        rows = [
            super(PerRowImageToVideo, self).prepare_latents(
                frame, 1, *shape, [generator], latents, last_image
            )
            for frame, generator in per_clip
        ]
        noise, condition, *mask = zip(*rows, strict=True)
        return (torch.cat(noise), torch.cat(condition), *(each[0] for each in mask))


class WanAdapter(DiffusersAdapter):
    """Renders with Wan.

    The autoencoder stays float32 everywhere: in bfloat16 its flat areas show bands.
    """

    classes: ClassVar[tuple[str, ...]] = ("WanPipeline", "WanImageToVideoPipeline", VACE)
    options: ClassVar[frozenset[str]] = DiffusersAdapter.options | {"guidance_scale_2"}
    float32_parts: ClassVar[tuple[str, ...]] = ("vae", "image_encoder")
    can_be_split: ClassVar[bool] = True

    @override
    def prepare_autoencoder(self, vae: Any, device: torch.device) -> None:
        if device.type == "cpu":
            convolve_by_onednn(vae)

    @override
    def stock_class(self, class_name: str) -> Any:
        if class_name == "WanImageToVideoPipeline":
            return PerRowImageToVideo
        return getattr(diffusers, class_name)

    @override
    def derive(self, pipe: Any, kind: Kind) -> Any:
        if kind is Kind.IMAGE_TO_VIDEO and isinstance(pipe, WanPipeline):
            return derive_image_to_video(pipe)
        return pipe

    @override
    def find_kinds(self, pipe: Any) -> frozenset[Kind]:
        if isinstance(pipe, WanImageToVideoPipeline):
            return frozenset({Kind.IMAGE_TO_VIDEO})
        if _is_vace(pipe) or pipe.config.expand_timesteps:
            return frozenset({Kind.TEXT_TO_VIDEO, Kind.IMAGE_TO_VIDEO})
        return frozenset({Kind.TEXT_TO_VIDEO})

    @override
    def find_grid(self, pipe: Any) -> Grid:
        transformer = pipe.transformer or pipe.transformer_2
        side = pipe.vae_scale_factor_spatial * transformer.config.patch_size[1]
        return Grid(pixels=side, frames=pipe.vae_scale_factor_temporal)

    @override
    def find_pictures(self, pipe: Any) -> Pictures:
        if _is_vace(pipe):
            return Pictures(last_image="taken", reference_images=MAX_REFERENCES)
        if not isinstance(pipe, WanImageToVideoPipeline):
            return Pictures()
        return Pictures(last_image=_use_of_last_frame(pipe))

    @override
    def can_batch(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> bool:
        pipe = loaded.pipelines[specs[0].kind]
        has_image = specs[0].kind is Kind.IMAGE_TO_VIDEO
        # One image goes through CLIP for the whole batch; only TI2V has a picture for each clip.
        return not _is_vace(pipe) and (not has_image or bool(pipe.config.expand_timesteps))

    @override
    def read_inputs(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> dict[str, Any]:
        first = specs[0]
        pipe = loaded.pipelines[first.kind]
        arguments: dict[str, Any] = {}
        if pipe.config.boundary_ratio is not None and "guidance_scale_2" in loaded.card.options:
            # Above 1 or not, both experts are guided or neither is.
            low_noise = float(loaded.card.options["guidance_scale_2"])
            arguments["guidance_scale_2"] = low_noise if first.guidance_scale > 1 else 1.0
        if _is_vace(pipe):
            return arguments | _vace_inputs(loaded, first)
        has_image = first.kind is Kind.IMAGE_TO_VIDEO
        use = _use_of_last_frame(pipe) if has_image else "refused"
        refuse_pictures(specs, last_image=use != "refused")
        if not has_image:
            return arguments
        if pipe.config.expand_timesteps:
            images = [load_first_frame(spec.image, spec.width, spec.height) for spec in specs]
            return arguments | {"image": torch.stack(images)}
        arguments["image"] = load_image(first.image, first.width, first.height)
        if first.last_image is not None:
            arguments["last_image"] = _last_image(first)
        elif use == "needed":
            message = f"{first.model} needs a first and a last frame"
            raise SpecError("last_image", message, limit="1 image", value=None)
        return arguments

    @override
    def call(self, pipe: Any, arguments: dict[str, Any]) -> list[Sample]:
        samples = super().call(pipe, arguments)
        if not _is_vace(pipe):
            return samples
        # References come first and are no part of the clip.
        extra = len(arguments.get("reference_images") or [])
        return [Sample(sample.video[:, :, extra:]) for sample in samples]

    @override
    def make_previews(self, first: VideoSpec) -> PreviewMaker:
        is_first_given = first.kind is Kind.IMAGE_TO_VIDEO
        num_references = len(first.reference_images)

        def show(pipe: Any, clean: torch.Tensor) -> Sequence[Frame]:  # noqa: ANN401 -- untyped
            # The first frame, which is exact; where that one is given, the middle one.
            frame = clean.shape[2] // 2 if is_first_given else num_references
            bring(pipe.vae)
            return decode_pictures(pipe.vae, clean, frame)

        return PreviewMaker(first.num_inference_steps, find_prediction, show)

    @override
    def decode_all(
        self, pipe: Any, samples: Sequence[Sample], on_step: StepCallback, *, is_tiled: bool
    ) -> list[Iterator[Frame]]:
        if is_tiled:
            return super().decode_all(pipe, samples, on_step, is_tiled=True)
        bring(pipe.vae)
        return decode_batch(pipe.vae, torch.cat([sample.video for sample in samples]), on_step)

    @override
    def decode(
        self, pipe: Any, sample: Sample, on_step: StepCallback, *, is_tiled: bool
    ) -> Iterator[Frame]:
        bring(pipe.vae)
        return (decode_tiled if is_tiled else stream_decode)(pipe.vae, sample.video, on_step)


def derive_image_to_video(text_to_video: WanPipeline) -> PerRowImageToVideo:
    """The image-to-video pipeline on the weights of `text_to_video`; nothing is copied.

    Not by `from_pipe`, which casts the shared weights to float32 (diffusers 0.42). The two
    settings must be repeated: `components` leaves them out, and without `expand_timesteps` the
    transformer would be fed twice its channels.
    """
    return PerRowImageToVideo(
        **text_to_video.components,
        expand_timesteps=text_to_video.config.expand_timesteps,
        boundary_ratio=text_to_video.config.boundary_ratio,
    )


def _is_vace(pipe: Any) -> bool:  # noqa: ANN401 -- untyped
    return bool(type(pipe).__name__ == VACE)


def _use_of_last_frame(pipe: Any) -> LastFrame:  # noqa: ANN401 -- untyped
    transformer = pipe.transformer or pipe.transformer_2
    if pipe.config.expand_timesteps:
        return "refused"
    if transformer.config.image_dim is None:
        return "taken"
    # Those that see frames through CLIP were trained to see one of them, or two.
    return "needed" if transformer.config.pos_embed_seq_len else "refused"


def _last_image(spec: VideoSpec) -> Image.Image:
    return load_image(spec.last_image, spec.width, spec.height, "last_image")


def _vace_inputs(loaded: Loaded, spec: VideoSpec) -> dict[str, Any]:
    """Given frames as a video with a mask, references beside it, and one generator, not a list."""
    refuse_pictures([spec], last_image=spec.kind is Kind.IMAGE_TO_VIDEO, reference_images=True)
    arguments: dict[str, Any] = {
        "generator": torch.Generator(loaded.device).manual_seed(spec.seed),
    }
    if spec.reference_images:
        arguments["reference_images"] = [
            load_image(path, spec.width, spec.height, "reference_images")
            for path in spec.reference_images
        ]
    if spec.kind is not Kind.IMAGE_TO_VIDEO:
        return arguments
    size = (spec.width, spec.height)
    frames = [Image.new("RGB", size, GREY) for _ in range(spec.num_frames)]
    masks = [Image.new("L", size, 255) for _ in range(spec.num_frames)]
    frames[0], masks[0] = load_image(spec.image, *size), Image.new("L", size, 0)
    if spec.last_image is not None:
        frames[-1], masks[-1] = _last_image(spec), Image.new("L", size, 0)
    return arguments | {"video": frames, "mask": masks}
