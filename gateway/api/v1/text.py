"""Text of a request that no database and no answer could hold."""

import re

from gateway.domain.errors import InvalidRequest

_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def refuse_unwritable(value: object, param: str | None = None) -> None:
    """Refuse NUL and halves of surrogate pairs, in names and values however deep.

    JSON can spell both, PostgreSQL stores neither, and half a pair cannot be sent back as UTF-8.

    Raises:
        InvalidRequest: names the field and the character.
    """
    if isinstance(value, dict):
        for name, each in value.items():
            refuse_unwritable(name, param)
            refuse_unwritable(each, f"{param}.{name}" if param else name)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            refuse_unwritable(each, f"{param}.{index}")
    elif isinstance(value, str) and (found := _UNWRITABLE.search(value)):
        point = f"U+{ord(found[0]):04X}"
        raise InvalidRequest(
            f"{param or 'a name'} holds {point}, which is no character",
            param=param,
            limit="Unicode text without NUL",
            value=point,
        )
