"""The body of `POST /v1/videos`: JSON or a form, with pictures and sound as file or data URL.

Stock SDKs send a form even without a file, write nested fields as `metadata[name]`, and numbers
as text. What arrives here leaves as one set of fields, with files as bytes.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from gateway.api.deps import ServicesDep
from gateway.api.v1.text import refuse_unwritable
from gateway.domain.errors import InvalidRequest
from gateway.protocol import KEYFRAMES, REFERENCES
from gateway.settings import Limits

IMAGE_FIELD = "input_reference"
LAST_FIELD = "last_image"
REFERENCES_FIELD = "reference_images"
KEYFRAMES_FIELD = "keyframes"
# First and last frame, a recording, and as many of the others as there may be.
_MAX_FILES = 3 + len(REFERENCES) + len(KEYFRAMES)
_MAX_FIELDS = 100
# How JSON writes NUL and halves of surrogate pairs; it has no other way to.
_ESCAPED = re.compile(rb"\\u(0000|[dD][89a-fA-F])")
_NESTED = re.compile(r"([a-z_]+)\[([^\[\]]{1,64})\]")
_DATA_URL = re.compile(r"data:(image|audio)/[a-z0-9+.-]+;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class VideoBody:
    """Fields by name, and the pictures, if there are any.

    Fields are still as they were sent, but for `speech.audio` and the `image` of each of
    `keyframes`, which are the files' bytes.
    """

    fields: dict[str, Any]
    image: bytes | None
    last_image: bytes | None = None
    reference_images: tuple[bytes, ...] = ()


async def read_video_body(request: Request, services: ServicesDep) -> VideoBody:
    """Take a request apart.

    Raises:
        InvalidRequest: it is neither a form nor JSON, says the same thing twice, or holds text that
            is none.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json":
        fields = await run_in_threadpool(_read_json, await request.body())
    elif content_type in ("multipart/form-data", "application/x-www-form-urlencoded"):
        fields = await _read_form(request, services.settings.limits)
    else:
        raise InvalidRequest(
            "send application/json or multipart/form-data",
            param="Content-Type",
            limit=["application/json", "multipart/form-data"],
            value=content_type,
        )
    image = _image_bytes(fields.pop(IMAGE_FIELD, None), IMAGE_FIELD)
    last_image = _image_bytes(fields.pop(LAST_FIELD, None), LAST_FIELD)
    references = _image_list(fields.pop(REFERENCES_FIELD, None))
    if fields.get(KEYFRAMES_FIELD) is None:
        fields.pop(KEYFRAMES_FIELD, None)
    else:
        fields[KEYFRAMES_FIELD] = _read_keyframes(fields[KEYFRAMES_FIELD])
    speech = fields.get("speech")
    if isinstance(speech, dict) and "audio" in speech:
        fields["speech"] = {
            **speech,
            "audio": _file_bytes(speech["audio"], "speech.audio", "audio"),
        }
    return VideoBody(fields, image, last_image, references)


VideoBodyDep = Annotated[VideoBody, Depends(read_video_body)]


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
        if _ESCAPED.search(body):
            refuse_unwritable(fields)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"the body is not JSON: {error}", param=None, limit="JSON", value=len(body)
        ) from None
    if not isinstance(fields, dict):
        raise InvalidRequest(
            "the body is not a JSON object",
            param=None,
            limit="object",
            value=type(fields).__name__,
        )
    for name, value in (("", fields), *fields.items()):
        if isinstance(value, dict) and len(value) > _MAX_FIELDS:
            shown = name[:40]
            raise InvalidRequest(
                f"{shown or 'the body'} has {len(value)} fields, {_MAX_FIELDS} are allowed",
                param=shown or None,
                limit=_MAX_FIELDS,
                value=len(value),
            )
    return fields


async def _read_form(request: Request, limits: Limits) -> dict[str, Any]:
    # A file may come as a data URL in a plain field, and base64 is a third longer.
    longest_field = max(limits.max_image_bytes, limits.max_audio_bytes) * 4 // 3 + 1024
    fields: dict[str, Any] = {}
    async with request.form(
        max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=longest_field
    ) as form:
        for name, value in form.multi_items():
            content = await value.read() if isinstance(value, UploadFile) else value
            _put(fields, name, content)
    refuse_unwritable(fields)
    keyframes = fields.get(KEYFRAMES_FIELD)
    if isinstance(keyframes, dict):
        # `keyframes[24]` is the picture at frame 24.
        fields[KEYFRAMES_FIELD] = [
            {"frame": frame, "image": image} for frame, image in keyframes.items()
        ]
    return fields


def _put(fields: dict[str, Any], name: str, value: str | bytes) -> None:
    if name in (REFERENCES_FIELD, f"{REFERENCES_FIELD}[]"):
        listed = fields.setdefault(REFERENCES_FIELD, [])
        if isinstance(listed, list):
            listed.append(value)
            return
    nested = _NESTED.fullmatch(name)
    target, key = (fields.setdefault(nested[1], {}), nested[2]) if nested else (fields, name)
    if not isinstance(target, dict) or key in target:
        raise InvalidRequest(f"{name} is given twice", param=name, limit="once", value="twice")
    target[key] = value


def _image_list(references: object) -> tuple[bytes, ...]:
    """The pictures of `reference_images`, each given as any picture is."""
    if references is None:
        return ()
    given = _list(references, REFERENCES_FIELD, "pictures", len(REFERENCES))
    found = [_image_bytes(each, REFERENCES_FIELD) for each in given]
    return tuple(each for each in found if each is not None)


def _read_keyframes(keyframes: object) -> list[object]:
    """`keyframes` with bytes for pictures, each given as any picture is."""
    return [
        {**each, "image": _image_bytes(each["image"], KEYFRAMES_FIELD)}
        if isinstance(each, dict) and "image" in each
        else each
        for each in _list(
            keyframes, KEYFRAMES_FIELD, "objects with frame and image", len(KEYFRAMES)
        )
    ]


def _list(given: object, param: str, of: str, most: int) -> list[object]:
    """A list of `most` at most: to refuse each of millions would cost a kilobyte."""
    if not isinstance(given, list):
        raise InvalidRequest(
            f"{param} is a list of {of}", param=param, limit="list", value=type(given).__name__
        )
    if len(given) > most:
        raise InvalidRequest(
            f"{param} takes {most} at most, not {len(given)}",
            param=param,
            limit=most,
            value=len(given),
        )
    return given


def _image_bytes(reference: object, param: str) -> bytes | None:
    """A picture: a file, a data URL, or `{"image_url": data URL}`."""
    if isinstance(reference, dict):
        if set(reference) != {"image_url"}:
            raise InvalidRequest(
                f"{param} is a file, or an object with image_url",
                param=param,
                limit=["image_url"],
                value=sorted(map(str, reference)),
            )
        reference = reference["image_url"]
    if reference is None:
        return None
    return _file_bytes(reference, param, "image")


def _file_bytes(given: object, param: str, media: str) -> bytes:
    """The content of a file part, or of a data URL of this kind of media."""
    if isinstance(given, bytes):
        return given
    prefix = _DATA_URL.match(given) if isinstance(given, str) else None
    if not isinstance(given, str) or prefix is None or prefix[1].lower() != media:
        raise InvalidRequest(
            f"{param} is a file or a data:{media}/...;base64, URL; links are not fetched",
            param=param,
            limit=f"data:{media}/...;base64,",
            value=str(given)[:40],
        )
    try:
        return base64.b64decode(given[prefix.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            f"{param} is not base64", param=param, limit="base64", value=len(given)
        ) from None
