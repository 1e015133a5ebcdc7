"""From what a client asks to a spec that its model renders exactly, or a refusal by name.

Nothing is rounded: what the request leaves open takes the model card's default, what it says is
either possible as said or refused with the limit and the value.
"""

import secrets
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.domain.errors import InvalidRequest, ModelNotFound, UnknownParameter
from models.catalog import Catalog, ModelCard, SpecError, parse_size
from models.spec import MAX_SEED, Kind, VideoSpec

_T = TypeVar("_T")

MAX_METADATA_KEYS = 16
MAX_METADATA_CHARS = 512


class VideoRequest(BaseModel):
    """The fields of `POST /v1/videos`, from JSON or a form; files apart.

    Attributes:
        seconds: clip length; one of the card's.
        size: `WIDTHxHEIGHT`, or `width` and `height`.
        num_frames: instead of `seconds`.
        mode: how much work goes in; one of the card's, and priced.
        generate_audio: whether the video gets sound that the model makes up; priced.
        external_task_id: the client's own id; unique per account, so it is an idempotency key.
        metadata: kept and given back; up to 16 keys of text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)

    prompt: str
    model: str | None = None
    negative_prompt: str = ""
    seconds: float | None = None
    size: str | None = None
    width: Annotated[int, Field(ge=1, le=16384)] | None = None
    height: Annotated[int, Field(ge=1, le=16384)] | None = None
    num_frames: Annotated[int, Field(ge=1, le=100_000)] | None = None
    fps: Annotated[int, Field(ge=1, le=240)] | None = None
    mode: Annotated[str, Field(max_length=32)] | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] | None = None
    generate_audio: bool = False
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    external_task_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    metadata: Annotated[
        dict[
            Annotated[str, Field(max_length=64)],
            Annotated[str, Field(max_length=MAX_METADATA_CHARS)],
        ],
        Field(max_length=MAX_METADATA_KEYS),
    ] = Field(default_factory=dict)


def parse_request(fields: dict[str, Any]) -> VideoRequest:
    """Check the types and bounds that hold for every model.

    Raises:
        InvalidRequest: names the first field at fault, its limit and the value seen.
    """
    try:
        return VideoRequest.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error) from None


def find_card(model_id: str | None, catalog: Catalog) -> ModelCard:
    """The model asked for, or the default.

    Raises:
        ModelNotFound: there is none of this id.
    """
    card = catalog.default if model_id is None else catalog.find(model_id)
    if card is None:
        served = [known.id for known in catalog.models]
        raise ModelNotFound(
            f"no model {model_id!r} here; served are {', '.join(served)}",
            param="model",
            limit=served,
            value=model_id,
        )
    return card


def build_spec(request: VideoRequest, card: ModelCard, *, has_image: bool) -> VideoSpec:
    """The spec of `request`, with every open choice made; a missing seed is drawn.

    Raises:
        InvalidRequest: the model cannot do exactly this.
    """
    fps = request.fps or card.fps[0]
    mode = request.mode or card.default_mode
    width, height = _size(request, card)
    try:
        spec = VideoSpec(
            kind=Kind.IMAGE_TO_VIDEO if has_image else Kind.TEXT_TO_VIDEO,
            model=card.id,
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            width=width,
            height=height,
            num_frames=_num_frames(request, card, fps),
            fps=fps,
            mode=mode,
            num_inference_steps=_or_default(request.num_inference_steps, card.steps_of(mode)),
            guidance_scale=_or_default(request.guidance_scale, card.guidance_of(mode)),
            generate_audio=request.generate_audio,
            seed=_or_default(request.seed, secrets.randbelow(MAX_SEED + 1)),
        )
        card.check(spec)
    except SpecError as error:
        raise InvalidRequest(
            error.message, param=error.param, limit=error.limit, value=error.value
        ) from None
    return spec


def _size(request: VideoRequest, card: ModelCard) -> tuple[int, int]:
    if request.width is not None and request.height is not None:
        if request.size is not None:
            raise InvalidRequest(
                "give size, or width and height, not both",
                param="size",
                limit="one of the two",
                value=request.size,
            )
        return request.width, request.height
    if request.width is not None or request.height is not None:
        missing = "height" if request.height is None else "width"
        raise InvalidRequest(
            "width and height go together", param=missing, limit="both or neither", value=None
        )
    try:
        return parse_size(request.size or card.sizes[0])
    except ValueError as error:
        raise InvalidRequest(
            str(error), param="size", limit=card.sizes, value=request.size
        ) from None


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
    return int(seconds) * fps + 1


def _or_default(value: _T | None, default: _T) -> _T:
    return default if value is None else value


def _refusal(error: ValidationError) -> InvalidRequest:
    found = error.errors(include_url=False)[0]
    param = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        known = sorted(VideoRequest.model_fields)
        return UnknownParameter(
            f"no parameter {param!r} here", param=param, limit=known, value=_shown(found["input"])
        )
    if found["type"] == "missing":
        return InvalidRequest(f"{param} is missing", param=param, limit="required", value=None)
    limits = {name: bound for name, bound in found.get("ctx", {}).items() if name != "error"}
    message = f"{param}: {found['msg'][0].lower()}{found['msg'][1:]}"
    return InvalidRequest(
        message, param=param, limit=limits or found["msg"], value=_shown(found["input"])
    )


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    longest = 100
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} characters)"
