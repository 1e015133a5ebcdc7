"""The body of `POST /v1/videos`: JSON or a form, with a picture as file or data URL.

Stock SDKs send a form even without a file, write nested fields as `metadata[name]`, and numbers
as text. What arrives here leaves as one flat set of fields and the bytes of the picture.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.datastructures import UploadFile

from gateway.api.deps import ServicesDep
from gateway.domain.errors import InvalidRequest
from gateway.settings import Limits

IMAGE_FIELD = "input_reference"
_MAX_FILES = 4
_MAX_FIELDS = 100
_NESTED = re.compile(r"([a-z_]+)\[([^\[\]]{1,64})\]")
_DATA_URL = re.compile(r"data:image/[a-z+.-]+;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class VideoBody:
    """Fields by name, still as they were sent, and the picture if there is one."""

    fields: dict[str, Any]
    image: bytes | None


async def read_video_body(request: Request, services: ServicesDep) -> VideoBody:
    """Take a request apart.

    Raises:
        InvalidRequest: it is neither a form nor JSON, or says the same thing twice.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/json":
        fields = _read_json(await request.body())
    elif content_type in ("multipart/form-data", "application/x-www-form-urlencoded"):
        fields = await _read_form(request, services.settings.limits)
    else:
        raise InvalidRequest(
            "send application/json or multipart/form-data",
            param="Content-Type",
            limit=["application/json", "multipart/form-data"],
            value=content_type,
        )
    reference = fields.pop(IMAGE_FIELD, None)
    return VideoBody(fields, _image_bytes(reference))


VideoBodyDep = Annotated[VideoBody, Depends(read_video_body)]


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
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
    return fields


async def _read_form(request: Request, limits: Limits) -> dict[str, Any]:
    # A picture may come as a data URL in a plain field, and base64 is a third longer.
    longest_field = limits.max_image_bytes * 4 // 3 + 1024
    fields: dict[str, Any] = {}
    async with request.form(
        max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=longest_field
    ) as form:
        for name, value in form.multi_items():
            content = await value.read() if isinstance(value, UploadFile) else value
            _put(fields, name, content)
    return fields


def _put(fields: dict[str, Any], name: str, value: str | bytes) -> None:
    nested = _NESTED.fullmatch(name)
    if nested:
        target = fields.setdefault(nested[1], {})
        name = nested[2]
    else:
        target = fields
    if not isinstance(target, dict) or name in target:
        raise InvalidRequest(f"{name} is given twice", param=name, limit="once", value="twice")
    target[name] = value


def _image_bytes(reference: object) -> bytes | None:
    """The picture of `input_reference`: a file, a data URL, or `{"image_url": data URL}`."""
    if isinstance(reference, bytes):
        return reference
    if isinstance(reference, dict):
        if set(reference) != {"image_url"}:
            raise InvalidRequest(
                f"{IMAGE_FIELD} is a file, or an object with image_url",
                param=IMAGE_FIELD,
                limit=["image_url"],
                value=sorted(map(str, reference)),
            )
        reference = reference["image_url"]
    if reference is None:
        return None
    prefix = _DATA_URL.match(reference) if isinstance(reference, str) else None
    if not isinstance(reference, str) or prefix is None:
        raise InvalidRequest(
            f"{IMAGE_FIELD} is a file or a data:image/...;base64, URL; links are not fetched",
            param=IMAGE_FIELD,
            limit="data:image/...;base64,",
            value=str(reference)[:40],
        )
    try:
        return base64.b64decode(reference[prefix.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            f"{IMAGE_FIELD} is not base64", param=IMAGE_FIELD, limit="base64", value=len(reference)
        ) from None
