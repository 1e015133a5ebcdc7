"""How the API document describes the body of `POST /v1/videos`, as JSON and as a form."""

from typing import Any

from gateway.jobs.request import VideoRequest
from gateway.protocol import KEYFRAMES, REFERENCES

_REFERENCES = ("$ref", "$defs", "discriminator")
_FILE = {"type": "string", "format": "binary"}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema without references, which would point nowhere inside the API document."""
    parts: dict[str, Any] = schema.get("$defs", {})

    def resolve(node: object) -> object:
        if isinstance(node, list):
            return [resolve(each) for each in node]
        if not isinstance(node, dict):
            return node
        rest = {name: resolve(each) for name, each in node.items() if name not in _REFERENCES}
        name = str(node.get("$ref", "")).rpartition("/")[2]
        return {**resolve_part(name), **rest} if name else rest

    def resolve_part(name: str) -> dict[str, Any]:
        part: Any = resolve(parts[name])
        return dict(part)

    resolved: Any = resolve(schema)
    return dict(resolved)


def _data_url(media: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^data:{media}/[a-z0-9+.-]+;base64,"}


_PICTURE = {
    "anyOf": [
        _data_url("image"),
        {
            "type": "object",
            "properties": {"image_url": _data_url("image")},
            "required": ["image_url"],
            "additionalProperties": False,
        },
    ]
}


def _as_json(node: object, name: str = "") -> Any:  # noqa: ANN401 -- any node of a schema
    """The node called `name` with data URLs in place of files."""
    if isinstance(node, list):
        return [_as_json(each, name) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == _FILE["format"]:
        described = {key: value for key, value in node.items() if key not in _FILE}
        return described | (_data_url("audio") if name == "audio" else _PICTURE)
    return {key: _as_json(each, key) for key, each in node.items()}


_REQUEST = _inlined(VideoRequest.model_json_schema())
_KEYFRAMES = {
    **_REQUEST["properties"]["keyframes"],
    "maxItems": len(KEYFRAMES),
    "description": "Pictures at given frames of the clip; for models that say so.",
}
_FIELDS = {
    **_REQUEST["properties"],
    "keyframes": _KEYFRAMES,
    "input_reference": {
        **_FILE,
        "description": "The first frame, or the portrait of a digital human.",
    },
    "last_image": {
        **_FILE,
        "description": "The last frame, beside the first; for models that say so.",
    },
    "reference_images": {
        "type": "array",
        "items": _FILE,
        "maxItems": len(REFERENCES),
        "description": "What appears in the clip, in a form one part each; for models that say so.",
    },
}
_FORM_KEYFRAMES = {
    "type": "object",
    "additionalProperties": _FILE,
    "maxProperties": len(KEYFRAMES),
    "description": f"{_KEYFRAMES['description']} The frame is in the name: `keyframes[24]`.",
}
_SCHEMA = {**_REQUEST, "title": "VideoRequest"}

REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": (
            "A form carries pictures and sound as files, JSON as `data:` URLs in base64. "
            "Links are not fetched."
        ),
        "content": {
            "application/json": {"schema": {**_SCHEMA, "properties": _as_json(_FIELDS)}},
            "multipart/form-data": {
                "schema": {**_SCHEMA, "properties": {**_FIELDS, "keyframes": _FORM_KEYFRAMES}}
            },
        },
    }
}
"""What `openapi_extra` of a route takes."""
