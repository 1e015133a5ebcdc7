"""The fields of `POST /v1/videos` and what holds of them for every model."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.domain.errors import InvalidRequest, UnknownParameter
from models.spec import MAX_SEED, Emotion, EmotionName, Kind, SpokenText

MAX_METADATA_KEYS = 16
MAX_METADATA_CHARS = 512
MAX_FRAMES = 100_000


class AudioSpeech(BaseModel):
    """A recording to speak along with. `audio`: a file of the form, or a data URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["audio"]
    audio: Annotated[bytes, Field(exclude=True, repr=False)]


class GivenKeyframe(BaseModel):
    """A picture that the clip comes by.

    Attributes:
        frame: of the finished clip, from 1; the first frame, 0, is `input_reference`.
        image: a picture, given like any other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: Annotated[int, Field(ge=1, lt=MAX_FRAMES)]
    image: Annotated[bytes, Field(exclude=True, repr=False)]


def _in_time(keyframes: tuple[GivenKeyframe, ...]) -> tuple[GivenKeyframe, ...]:
    return tuple(sorted(keyframes, key=lambda each: each.frame))


def _named(emotion: object) -> object:
    return {"name": emotion} if isinstance(emotion, str) else emotion


class VideoRequest(BaseModel):
    """The fields of `POST /v1/videos`, from JSON or a form, but for the pictures without a frame.

    Attributes:
        seconds: clip length; one of the card's.
        size: `WIDTHxHEIGHT`, or `width` and `height`, or `aspect_ratio` and `resolution`.
        aspect_ratio: `9:16`, `16:9`, `1:1`: of the card's sizes the first with these sides.
        resolution: `720p`, `1080p`: of the card's sizes the first with this short side.
        num_frames: instead of `seconds`.
        mode: how much work goes in; one of the card's, and priced.
        keyframes: pictures at given frames of the clip, for models that say so; in any order.
        generate_audio: whether the video gets sound that the model makes up; priced.
        speech: what a digital human says; makes it one, whose portrait is the picture.
        emotion: of a digital human; a name is as good.
        motion: how much a digital human's head and shoulders move.
        face: which face of the picture speaks, from the left, from 0.
        external_task_id: the client's own id; unique per account, so it is an idempotency key.
        metadata: kept and given back; up to 16 keys of text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)

    prompt: str | None = None
    model: Annotated[str, Field(max_length=64)] | None = None
    negative_prompt: str = ""
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    size: Annotated[str, Field(max_length=32)] | None = None
    width: Annotated[int, Field(ge=1, le=16384)] | None = None
    height: Annotated[int, Field(ge=1, le=16384)] | None = None
    aspect_ratio: Annotated[str, Field(pattern=r"^[1-9]\d?:[1-9]\d?$")] | None = None
    resolution: Annotated[str, Field(pattern=r"^[1-9]\d{1,3}p$")] | None = None
    num_frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)] | None = None
    fps: Annotated[int, Field(ge=1, le=240)] | None = None
    mode: Annotated[str, Field(max_length=32)] | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] | None = None
    # Left out where there are none, so that requests from before them are known again.
    keyframes: Annotated[
        tuple[GivenKeyframe, ...],
        AfterValidator(_in_time),
        Field(exclude_if=lambda keyframes: not keyframes),
    ] = ()
    generate_audio: bool = False
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    speech: Annotated[SpokenText | AudioSpeech, Field(discriminator="type")] | None = None
    emotion: (
        Annotated[Emotion, BeforeValidator(_named, json_schema_input_type=Emotion | EmotionName)]
        | None
    ) = None
    motion: Annotated[float, Field(ge=0, le=1)] | None = None
    face: Annotated[int, Field(ge=0, le=99)] | None = None
    external_task_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    metadata: Annotated[
        dict[
            Annotated[str, Field(max_length=64)],
            Annotated[str, Field(max_length=MAX_METADATA_CHARS)],
        ],
        Field(max_length=MAX_METADATA_KEYS),
    ] = Field(default_factory=dict)


PERFORMING = ("emotion", "motion", "face")
TIMING = ("seconds", "num_frames")

_NESTED: dict[str, set[str]] = {
    "speech": {*SpokenText.model_fields, *AudioSpeech.model_fields},
    "emotion": {*Emotion.model_fields},
    "keyframes": {*GivenKeyframe.model_fields},
}


def parse_request(fields: dict[str, Any]) -> VideoRequest:
    """Check the types and bounds that hold for every model.

    Raises:
        InvalidRequest: names the first field at fault, its limit and the value seen.
    """
    try:
        return VideoRequest.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error) from None


def kind_of(request: VideoRequest, *, has_image: bool) -> Kind:
    """What is asked for: presence decides.

    Raises:
        InvalidRequest: something that its kind needs is missing, or has no meaning with it.
    """
    if request.speech is None:
        _refuse(request, PERFORMING, "is for digital humans; give speech too", "with speech")
        if request.prompt is None:
            raise InvalidRequest("prompt is missing", param="prompt", limit="required", value=None)
        return Kind.IMAGE_TO_VIDEO if has_image else Kind.TEXT_TO_VIDEO
    _refuse(request, TIMING, "is not for digital humans; they last as long as they speak", "none")
    if not has_image:
        raise InvalidRequest(
            "input_reference is missing: a digital human needs the picture of a face",
            param="input_reference",
            limit="required",
            value=None,
        )
    return Kind.DIGITAL_HUMAN


def _refuse(request: VideoRequest, names: tuple[str, ...], why: str, limit: str) -> None:
    for name in names:
        value = getattr(request, name)
        if value is not None:
            shown = value.name if isinstance(value, Emotion) else value
            raise InvalidRequest(f"{name} {why}", param=name, limit=limit, value=shown)


def _refusal(error: ValidationError) -> InvalidRequest:
    found = error.errors(include_url=False)[0]
    path = [str(part) for part in found["loc"]]
    if path[0] == "speech":
        # Below it the path names the variant, which the client did not write.
        path = ["speech", *path[2:]]
        if found["type"].startswith("union_tag"):
            kinds = ["text", "audio"]
            message = "speech.type is text or audio"
            seen = found.get("ctx", {}).get("tag")
            return InvalidRequest(message, param="speech.type", limit=kinds, value=seen)
    param = _shown(".".join(path))
    if found["type"] == "extra_forbidden":
        known = sorted(_NESTED.get(path[0], VideoRequest.model_fields))
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
