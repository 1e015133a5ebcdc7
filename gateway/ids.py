"""Ids that name their kind and sort by the time they were made: `video_01kaj3...`."""

import secrets
from datetime import datetime

JOB_PREFIX = "video"
ACCOUNT_PREFIX = "acc"
KEY_PREFIX = "key"

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford base 32: no i, l, o, u
_TIME_CHARS = 9  # 45 bits of milliseconds: enough until the year 3084
_RANDOM_CHARS = 16  # 80 bits


def new_id(prefix: str, now: datetime) -> str:
    """A fresh id: the prefix, 9 characters of time in milliseconds, 16 random ones."""
    milliseconds = int(now.timestamp() * 1000)
    return f"{prefix}_{_base32(milliseconds, _TIME_CHARS)}{_random(_RANDOM_CHARS)}"


def lowest_id(prefix: str, instant: datetime) -> str:
    """A lower bound of every id made at `instant` or later."""
    return f"{prefix}_{_base32(int(instant.timestamp() * 1000), _TIME_CHARS)}"


def _base32(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
