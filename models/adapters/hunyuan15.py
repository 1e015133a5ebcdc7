"""HunyuanVideo 1.5: from text, or from a first frame with the checkpoints made for it.

Guidance is a component of its pipeline and not an argument, sizes of image-to-video follow from the
picture, and nothing is called after a step; the adapter makes up for all three.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, ClassVar

import torch
from typing_extensions import override

from models.adapters.common import load_image, memory_errors_named, refuse_pictures
from models.adapters.family import DiffusersAdapter
from models.adapters.fitting import Grid
from models.adapters.pixels import decode_whole, to_frames
from models.adapters.placement import bring
from models.adapters.previews import PreviewMaker, TwoPointPrediction
from models.adapters.prompts import Embedding
from models.adapters.quirks import Loaded, Sample
from models.card import ModelCard
from models.cardparts import parse_size
from models.pipeline import Frame, StepCallback
from models.spec import Kind, VideoSpec

KINDS = {
    "HunyuanVideo15Pipeline": Kind.TEXT_TO_VIDEO,
    "HunyuanVideo15ImageToVideoPipeline": Kind.IMAGE_TO_VIDEO,
}
TOKENS = ("tokenizer_max_length", "tokenizer_2_max_length", "vision_num_semantic_tokens")


class HunyuanVideo15Adapter(DiffusersAdapter):
    """Renders with HunyuanVideo 1.5.

    Options of a card: those of `TOKENS`, the lengths of what the transformer reads beside latents.
    """

    classes: ClassVar[tuple[str, ...]] = tuple(KINDS)
    # The first-block hook is not made for its blocks (diffusers 0.42).
    caches: ClassVar[frozenset[str]] = frozenset({"taylor"})
    options: ClassVar[frozenset[str]] = frozenset(TOKENS)
    float32_parts: ClassVar[tuple[str, ...]] = ()
    embeddings: ClassVar[tuple[str, ...]] = (
        "prompt_embeds",
        "prompt_embeds_mask",
        "prompt_embeds_2",
        "prompt_embeds_mask_2",
    )
    takes_sigmas: ClassVar[bool] = True

    @override
    def find_kinds(self, pipe: Any) -> frozenset[Kind]:
        return frozenset({KINDS[type(pipe).__name__]})

    @override
    def find_grid(self, pipe: Any) -> Grid:
        side = pipe.vae_scale_factor_spatial * pipe.transformer.config.patch_size
        return Grid(pixels=side, frames=pipe.vae_scale_factor_temporal)

    @override
    def find_problem(self, card: ModelCard, pipe: Any) -> str | None:
        if Kind.IMAGE_TO_VIDEO not in self.find_kinds(pipe):
            return None
        for size in card.sizes:
            width, height = parse_size(size)
            high, wide = pipe.video_processor.calculate_default_height_width(
                height, width, pipe.target_size
            )
            if (wide, high) != (width, height):
                return f"sizes: {size} would come out as {wide}x{high}"
        return None

    @override
    def can_batch(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> bool:
        # One picture goes to all clips of a call.
        return specs[0].kind is Kind.TEXT_TO_VIDEO

    @override
    def read_inputs(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> dict[str, Any]:
        refuse_pictures(specs)
        first = specs[0]
        if first.kind is Kind.TEXT_TO_VIDEO:
            return {}
        return {"image": load_image(first.image, first.width, first.height)}

    @override
    def encode_prompt(self, pipe: Any, prompt: str, num_tokens: int | None) -> Embedding:
        # Two encoders, each with a length of its own; see `TOKENS`.
        encoded: Embedding = pipe.encode_prompt([prompt])
        return encoded

    @override
    def call(self, pipe: Any, arguments: dict[str, Any]) -> list[Sample]:
        arguments = dict(arguments)
        guidance = max(arguments.pop("guidance_scale"), 1.0)
        pipe.guider = pipe.guider.new(guidance_scale=guidance)
        if "image" in arguments:
            del arguments["width"], arguments["height"]
        watch = arguments.pop("callback_on_step_end", None)
        if watch is None:
            return super().call(pipe, arguments)
        step, numbers = pipe.scheduler.step, count()

        def watched_step(*given: object, **named: object) -> tuple[torch.Tensor]:
            made: tuple[torch.Tensor] = step(*given, **named)
            watch(pipe, next(numbers), None, {"latents": made[0]})
            return made

        pipe.scheduler.step = watched_step
        try:
            return super().call(pipe, arguments)
        finally:
            del pipe.scheduler.step

    @override
    def make_previews(self, first: VideoSpec) -> PreviewMaker:
        is_first_given = first.kind is Kind.IMAGE_TO_VIDEO

        def show(pipe: Any, clean: torch.Tensor) -> Sequence[Frame]:  # noqa: ANN401 -- untyped
            frame = clean.shape[2] // 2 if is_first_given else 0
            with memory_errors_named("a preview"):
                pixels = _decode(pipe.vae, clean[:, :, frame : frame + 1])
                return [clip[0] for clip in to_frames(pixels)]

        return PreviewMaker(first.num_inference_steps, TwoPointPrediction(), show)

    @override
    def decode(
        self, pipe: Any, sample: Sample, on_step: StepCallback, *, is_tiled: bool
    ) -> Iterator[Frame]:
        vae = pipe.vae
        return decode_whole(lambda: _decode(vae, sample.video), on_step)

    @override
    def prepare(self, card: ModelCard, pipe: Any) -> None:
        for name in TOKENS:
            if name in card.options:
                setattr(pipe, name, int(card.options[name]))


def _decode(vae: Any, latents: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- untyped
    bring(vae)
    scaled = latents.to(vae.dtype) / vae.config.scaling_factor
    pixels: torch.Tensor = vae.decode(scaled, return_dict=False)[0]
    return pixels
