"""API keys: `rg_` and 43 characters of randomness, shown once, kept as a hash.

256 random bits cannot be guessed, so a plain SHA-256 is enough; slow hashes are for passwords.
"""

import hashlib
import secrets

PREFIX = "rg_"


def generate_key() -> str:
    """A fresh key."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """What the database keeps of `key`: 64 hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def hint_of(key: str) -> str:
    """Enough of `key` to recognise it in a list, too little to use it."""
    return f"{key[:7]}...{key[-4:]}"
