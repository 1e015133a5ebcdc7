"""What every diffusers renderer needs: the first frame, progress, errors of memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from PIL import Image, ImageOps

from models.card import SpecError
from models.pipeline import Frame, OutOfMemory, StepCallback
from models.spec import Stage, VideoSpec

IMAGE_PARAM = "input_reference"
"""The request field with the first frame, as clients know it."""


def fit_image(image: Image.Image, width: int, height: int) -> Image.Image:
    """`image` upright, in RGB, scaled to cover `width` x `height` pixels and cropped to the centre.

    See-through parts become white.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return ImageOps.fit(upright.convert("RGB"), (width, height), Image.Resampling.LANCZOS)


def load_image(path: Path | None, width: int, height: int, param: str = IMAGE_PARAM) -> Image.Image:
    """The image at `path` fitted to the video, RGB; `param` is the request field it came in.

    Raises:
        SpecError: there is none, or it cannot be read as an image.
    """
    if path is None:
        message = f"image_to_video needs a first frame in {param}"
        raise SpecError(param, message, limit="1 image", value=None)
    try:
        with Image.open(path) as image:
            return fit_image(image, width, height)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        message = f"{param} is not a readable image"
        raise SpecError(param, message, limit="a readable image", value=path.name) from None


def load_first_frame(path: Path | None, width: int, height: int) -> torch.Tensor:
    """The image at `path` fitted to the video: float32 [3, height, width] in [0, 1].

    Raises:
        SpecError: there is none, or it cannot be read as an image.
    """
    fitted = load_image(path, width, height)
    pixels = torch.from_numpy(np.asarray(fitted, dtype=np.float32) / 255.0)
    return pixels.permute(2, 0, 1).contiguous()


def refuse_pictures(
    specs: Sequence[VideoSpec], *, last_image: bool = False, reference_images: bool = False
) -> None:
    """Refuse pictures that would be ignored; a flag says which kind is of use.

    Raises:
        SpecError: names the field.
    """
    for spec in specs:
        if spec.last_image is not None and not last_image:
            message = f"{spec.model} takes no last frame"
            raise SpecError("last_image", message, limit=None, value=spec.last_image.name)
        if spec.reference_images and not reference_images:
            message = f"{spec.model} takes no reference images"
            count = len(spec.reference_images)
            raise SpecError("reference_images", message, limit=0, value=count)


class StepBar:
    """Stands in for the tqdm bar of a diffusers pipeline and reports denoising steps.

    Unlike `callback_on_step_end`, every pipeline of diffusers has a bar. An exception from the
    callback passes through the pipeline, which ends the batch at this step. A pipeline that counts
    anew, or is called again, asks for another bar: it gets this one, which counts on.

    `total`: denoising steps of the whole batch. `take_previews` is asked for the previews of every
    step.
    """

    def __init__(
        self,
        total: int,
        on_step: StepCallback,
        take_previews: Callable[[], Sequence[Frame]] = tuple,
    ) -> None:
        self._total = total
        self._on_step = on_step
        self._take_previews = take_previews
        self._done = 0

    def __call__(self, *_: object, **__: object) -> Self:
        """The bar that a pipeline asks for."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def update(self, steps: int = 1) -> None:
        """Count `steps` more denoising steps."""
        self._done += steps
        self._on_step(Stage.DENOISING, self._done, self._total, self._take_previews())


def weight_bytes(parts: Iterable[object]) -> int:
    """Bytes of all parameters and buffers of the modules among `parts`, shared ones once."""
    return tensor_bytes(
        tensor
        for part in parts
        if isinstance(part, torch.nn.Module)
        for tensor in (*part.parameters(), *part.buffers())
    )


def tensor_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of `tensors`, shared ones once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


@contextmanager
def memory_errors_named(work: str) -> Iterator[None]:
    """Turn an allocation that failed inside the block into `OutOfMemory`; `work` says of what."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise OutOfMemory(f"not enough memory for {work}") from None
    except RuntimeError as error:
        # The CPU allocator of torch has no class of its own for this.
        if "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory(f"not enough memory for {work}") from None
