"""Who gives an order over HTTP, and the key under which it happens once."""

import secrets
from typing import Annotated

from fastapi import Depends, Header

from gateway.admin.once import Signature
from gateway.api.deps import AdminDep

REPLAYED = {"Idempotent-Replayed": "true"}
"""The header of an answer to an order that was carried out before."""


def _signature(
    admin: AdminDep,
    idempotency_key: Annotated[
        str | None, Header(description="The same order under the same key happens once.")
    ] = None,
) -> Signature:
    key = secrets.token_hex(16) if idempotency_key is None else idempotency_key
    return Signature(actor=f"key {admin.key_id}", key=key)


SignatureDep = Annotated[Signature, Depends(_signature)]
