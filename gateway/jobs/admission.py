"""From what a client asks to a spec that its model renders exactly, or a refusal by name.

Nothing is rounded: what the request leaves open takes the model card's default, what it says is
either possible as said or refused with the limit and the value.
"""

import math
import secrets
from typing import TypeVar

from gateway.domain.errors import InvalidRequest, ModelNotFound, UnsupportedByModel
from gateway.jobs.request import VideoRequest
from models.card import ModelCard, SpecError
from models.cardparts import parse_size
from models.catalog import Catalog
from models.spec import (
    MAX_SEED,
    Emotion,
    Keyframe,
    Kind,
    Performance,
    SpokenAudio,
    SpokenText,
    VideoSpec,
)

_T = TypeVar("_T")

DEFAULT_MOTION = 0.5
# A recording of exactly 2 s may be read as 2.0000001 s; that is no frame more.
_FRAME_TOLERANCE = 1e-3


def find_card(model_id: str | None, catalog: Catalog, kind: Kind) -> ModelCard:
    """The model asked for, or the first that makes `kind`.

    Raises:
        ModelNotFound: there is none of this id.
        UnsupportedByModel: no model makes this kind.
        InvalidRequest: the one asked for does not make it.
    """
    card = catalog.default_for(kind) if model_id is None else catalog.find(model_id)
    served = [known.id for known in catalog.models]
    if card is not None:
        try:
            card.check_kind(kind)
        except SpecError as error:
            raise _refused(error) from None
        return card
    if model_id is None:
        raise UnsupportedByModel(
            f"no model here makes {kind}", param="kind", limit=served, value=str(kind)
        )
    raise ModelNotFound(
        f"no model {model_id!r} here; served are {', '.join(served)}",
        param="model",
        limit=served,
        value=model_id,
    )


def build_spec(
    request: VideoRequest, card: ModelCard, *, kind: Kind, speech_s: float | None = None
) -> VideoSpec:
    """The spec of `request`, with every open choice made; a missing seed is drawn.

    A digital human speaks for `speech_s` seconds at the most.

    Raises:
        InvalidRequest: the model cannot do exactly this.
    """
    fps = request.fps or card.fps[0]
    mode = _or_default(request.mode, card.default_mode)
    width, height = _size(request, card)
    try:
        spec = VideoSpec(
            kind=kind,
            model=card.id,
            prompt=request.prompt or "",
            negative_prompt=request.negative_prompt,
            width=width,
            height=height,
            num_frames=(
                _num_frames(request, card, fps)
                if speech_s is None
                else max(math.ceil(speech_s * fps - _FRAME_TOLERANCE), 1)
            ),
            fps=fps,
            mode=mode,
            num_inference_steps=_or_default(request.num_inference_steps, card.steps_of(mode)),
            guidance_scale=_or_default(request.guidance_scale, card.guidance_of(mode)),
            keyframes=tuple(Keyframe(frame=each.frame) for each in request.keyframes),
            generate_audio=request.generate_audio,
            seed=_or_default(request.seed, secrets.randbelow(MAX_SEED + 1)),
            performance=_performance(request),
        )
        card.check(spec)
    except SpecError as error:
        raise _refused(error) from None
    return spec


def check_pictures(
    card: ModelCard, spec: VideoSpec, *, has_last: bool, num_references: int
) -> None:
    """Make sure that `card` has a use for the pictures beside the first frame.

    Raises:
        InvalidRequest: one would be ignored, or is missing; names its field.
    """
    able, kind = card.pictures, spec.kind
    if has_last and able.last_image == "refused":
        message = f"{card.id} takes no last frame"
        raise InvalidRequest(message, param="last_image", limit=None, value="a picture")
    if has_last and kind is not Kind.IMAGE_TO_VIDEO:
        message = "last_image needs input_reference, the first frame, beside it"
        raise InvalidRequest(
            message, param="last_image", limit="with input_reference", value="a picture"
        )
    if not has_last and able.last_image == "needed" and kind is Kind.IMAGE_TO_VIDEO:
        message = f"last_image is missing: {card.id} needs a first and a last frame"
        raise InvalidRequest(message, param="last_image", limit="required", value=None)
    most = able.reference_images
    if num_references > most:
        allowed = f"at most {most} reference images" if most else "no reference images"
        message = f"{card.id} takes {allowed}, not {num_references}"
        raise InvalidRequest(message, param="reference_images", limit=most, value=num_references)
    try:
        card.check_keyframes(spec, has_last=has_last)
    except SpecError as error:
        raise _refused(error) from None


def _refused(error: SpecError) -> InvalidRequest:
    return InvalidRequest(error.message, param=error.param, limit=error.limit, value=error.value)


def _performance(request: VideoRequest) -> Performance | None:
    if request.speech is None:
        return None
    spoken = request.speech
    return Performance(
        speech=spoken if isinstance(spoken, SpokenText) else SpokenAudio(),
        emotion=request.emotion or Emotion(),
        motion=_or_default(request.motion, DEFAULT_MOTION),
        face=request.face,
    )


def _size(request: VideoRequest, card: ModelCard) -> tuple[int, int]:
    _refuse_two_ways_of_size(request)
    if request.width is not None and request.height is not None:
        return request.width, request.height
    if request.aspect_ratio is not None or request.resolution is not None:
        return _size_by_shape(request, card)
    if request.width is not None or request.height is not None:
        missing = "height" if request.height is None else "width"
        raise InvalidRequest(
            "width and height go together", param=missing, limit="both or neither", value=None
        )
    try:
        return parse_size(_or_default(request.size, card.sizes[0]))
    except ValueError as error:
        raise InvalidRequest(
            str(error), param="size", limit=[*card.size_sources], value=request.size
        ) from None


def _refuse_two_ways_of_size(request: VideoRequest) -> None:
    pixels = request.width is not None or request.height is not None
    if request.size is not None and pixels:
        raise InvalidRequest(
            "give size, or width and height, not both",
            param="size",
            limit="one of the two",
            value=request.size,
        )
    for name in ("aspect_ratio", "resolution"):
        value = getattr(request, name)
        if value is not None and (request.size is not None or pixels):
            raise InvalidRequest(
                f"give size, or aspect_ratio and resolution, not both ({name})",
                param=name,
                limit="one of the two",
                value=value,
            )


def _size_by_shape(request: VideoRequest, card: ModelCard) -> tuple[int, int]:
    """The first size of the card that has the sides and the short side asked for."""
    sizes = [parse_size(size) for size in card.size_sources]
    for name, shape_of in (("aspect_ratio", _ratio), ("resolution", _short_side)):
        wanted = getattr(request, name)
        if wanted is None:
            continue
        offered = list(dict.fromkeys(shape_of(*size) for size in sizes))
        sizes = [size for size in sizes if shape_of(*size) == _reduced(wanted)]
        if not sizes:
            raise InvalidRequest(
                f"{card.id} has {', '.join(offered)} here, not {wanted}",
                param=name,
                limit=offered,
                value=wanted,
            )
    return sizes[0]


def _ratio(width: int, height: int) -> str:
    common = math.gcd(width, height)
    return f"{width // common}:{height // common}"


def _short_side(width: int, height: int) -> str:
    return f"{min(width, height)}p"


def _reduced(shape: str) -> str:
    """`18:32` as `9:16`; a resolution as it is."""
    width, colon, height = shape.partition(":")
    return _ratio(int(width), int(height)) if colon else shape


def _num_frames(request: VideoRequest, card: ModelCard, fps: int) -> int:
    if request.num_frames is not None and request.seconds is not None:
        raise InvalidRequest(
            "give seconds or num_frames, not both",
            param="num_frames",
            limit="one of the two",
            value=request.num_frames,
        )
    if request.num_frames is not None:
        return request.num_frames
    seconds = card.seconds[0] if request.seconds is None else request.seconds
    if seconds not in card.seconds:
        offered = ", ".join(str(offer) for offer in card.seconds)
        raise InvalidRequest(
            f"{card.id} makes clips of {offered} seconds, not {seconds:g}",
            param="seconds",
            limit=card.seconds,
            value=seconds,
        )
    return card.frames_of(int(seconds), fps)


def _or_default(value: _T | None, default: _T) -> _T:
    return default if value is None else value
