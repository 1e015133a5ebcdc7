"""What a family of diffusers pipelines says of itself; `family` does the rest, once for all.

Which folders it reads, what they can make exactly, how a spec becomes arguments, how a prompt and
how latents are turned into what comes next. Most of it has a way that most families share.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import torch

from models.adapters.extras import Extras
from models.adapters.fitting import Grid
from models.adapters.placement import Offload
from models.adapters.previews import PreviewMaker
from models.adapters.prompts import Embedding, PromptCache
from models.card import ModelCard
from models.cardparts import Pictures
from models.pipeline import Audio, Frame, StepCallback
from models.spec import Kind, VideoSpec


@dataclass(frozen=True)
class Sample:
    """One clip, denoised: its latents, video [1, C, F, h, w], sound as the family has it."""

    video: torch.Tensor
    sound: torch.Tensor | None = None


@dataclass(frozen=True)
class Loaded:
    """What `load` brought: a pipeline for every kind of the card, on one set of weights."""

    card: ModelCard
    device: str
    pipelines: dict[Kind, Any]
    offload: Offload
    prompts: PromptCache
    extras: Extras

    @property
    def is_on_gpu(self) -> bool:
        """Whether it computes anywhere but on a CPU."""
        return torch.device(self.device).type != "cpu"


class Family(ABC):
    """The quirks of one family.

    Attributes:
        classes: of pipelines whose folders it reads.
        caches: kinds of step cache that skip something with it.
        options: of the card, beside those that all families have.
        float32_parts: components that lose too much in half precision.
        embeddings: arguments of a call that an encoded prompt becomes; those of a negative prompt
            have `negative_` before them.
        prompt_cache_bytes: of encoded prompts that are kept, unless the card says otherwise.
        takes_sigmas: whether a mode may give the whole noise schedule.
        takes_two_passes: whether it has `read_upsampler` and heeds `second_pass` of a mode.
        can_be_split: whether several devices can share one of its clips.
        makes_sound: whether it has `make_sound`; a card may offer sound only then.
    """

    classes: ClassVar[tuple[str, ...]]
    caches: ClassVar[frozenset[str]] = frozenset({"first_block", "taylor"})
    options: ClassVar[frozenset[str]] = frozenset({"max_sequence_length"})
    float32_parts: ClassVar[tuple[str, ...]] = ("vae",)
    embeddings: ClassVar[tuple[str, ...]] = ("prompt_embeds",)
    prompt_cache_bytes: ClassVar[int] = 256 << 20
    takes_sigmas: ClassVar[bool] = False
    takes_two_passes: ClassVar[bool] = False
    can_be_split: ClassVar[bool] = False
    makes_sound: ClassVar[bool] = False

    def stock_class(self, class_name: str) -> Any:  # noqa: ANN401 -- diffusers is untyped
        """The class that reads a folder whose index names `class_name`."""
        return getattr(diffusers, class_name)

    def derive(self, pipe: Any, kind: Kind) -> Any:  # noqa: ANN401 -- untyped
        """The pipeline for `kind` on the weights of `pipe`; nothing is copied."""
        del kind
        return pipe

    @abstractmethod
    def find_kinds(self, pipe: Any) -> frozenset[Kind]:  # noqa: ANN401 -- untyped
        """What these weights can do."""

    @abstractmethod
    def find_grid(self, pipe: Any) -> Grid:  # noqa: ANN401 -- untyped
        """What these weights make without rounding."""

    @abstractmethod
    def read_inputs(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> dict[str, Any]:
        """Arguments of the family's own, pictures first of all.

        Raises:
            SpecError: a picture is missing, broken, or of no use to these weights.
        """

    @abstractmethod
    def decode(
        self,
        pipe: Any,  # noqa: ANN401 -- untyped
        sample: Sample,
        on_step: StepCallback,
        *,
        is_tiled: bool,
    ) -> Iterator[Frame]:
        """Frames of `sample`, uint8 [H, W, 3], made as they are read.

        The autoencoder is that of `pipe` now: by then it may have another one.
        """

    def decode_all(
        self,
        pipe: Any,  # noqa: ANN401 -- untyped
        samples: Sequence[Sample],
        on_step: StepCallback,
        *,
        is_tiled: bool,
    ) -> list[Iterator[Frame]]:
        """Frames of every one of `samples`; see `decode`."""
        return [self.decode(pipe, sample, on_step, is_tiled=is_tiled) for sample in samples]

    def find_pictures(self, pipe: Any) -> Pictures:  # noqa: ANN401 -- untyped
        """What these weights take beside a first frame."""
        del pipe
        return Pictures()

    def find_problem(self, card: ModelCard, pipe: Any) -> str | None:  # noqa: ANN401 -- untyped
        """What else of `card` these weights would round or ignore, as words for the operator."""
        del card, pipe
        return None

    def prepare(self, card: ModelCard, pipe: Any) -> None:  # noqa: ANN401 -- untyped
        """Put options of `card` on the pipeline, once."""
        del card, pipe

    def prepare_autoencoder(self, vae: Any, device: torch.device) -> None:  # noqa: ANN401
        """Have an autoencoder work as fast as it can on `device`, once."""
        del vae, device

    def read_upsampler(self, pipe: Any, folder: Path) -> Any:  # noqa: ANN401 -- untyped
        """What enlarges latents of `pipe` between two passes.

        Raises:
            Exception: the weights in `folder` are missing, broken or of another model.
        """
        raise NotImplementedError(f"{type(self).__name__} makes no second pass")

    def count_steps(self, card: ModelCard, pipe: Any, first: VideoSpec) -> int:  # noqa: ANN401
        """Denoising steps of one call."""
        del pipe
        second_pass = card.modes[first.mode].second_pass
        return first.num_inference_steps + (len(second_pass.sigmas) if second_pass else 0)

    def can_batch(self, loaded: Loaded, specs: Sequence[VideoSpec]) -> bool:
        """Whether one call takes all of `specs`, two or more."""
        del loaded, specs
        return True

    def make_previews(self, first: VideoSpec) -> PreviewMaker | None:
        """What shows clips like `first` while they are denoised; None where nothing can."""
        del first
        return None

    def make_sound(self, pipe: Any, sample: Sample, spec: VideoSpec) -> Audio:  # noqa: ANN401
        """The sound of `sample`, as long as the frames of `spec`."""
        raise NotImplementedError(f"{type(self).__name__} makes no sound")

    def set_tiling(self, pipe: Any, *, is_tiled: bool) -> None:  # noqa: ANN401 -- untyped
        """Have the autoencoder work in tiles, or not."""
        if is_tiled:
            pipe.vae.enable_tiling()
        else:
            pipe.vae.disable_tiling()

    def encode_prompt(self, pipe: Any, prompt: str, num_tokens: int | None) -> Embedding:  # noqa: ANN401
        """What the transformer reads for `prompt`, in the order of `embeddings`.

        Args:
            pipe: whose encoder it is.
            prompt: one, wanted or not.
            num_tokens: the length it is padded or cut to, where pipelines of this family have one.
        """
        made: Embedding = pipe.encode_prompt(
            [prompt], do_classifier_free_guidance=False, max_sequence_length=num_tokens
        )
        return made[: len(self.embeddings)]

    def call(self, pipe: Any, arguments: dict[str, Any]) -> list[Sample]:  # noqa: ANN401 -- untyped
        """One call of the pipeline: a sample for each prompt."""
        latents: torch.Tensor = pipe(**arguments, output_type="latent").frames
        return [Sample(latents[row : row + 1]) for row in range(len(latents))]
