"""The words of the ledger. Points are integers; they move, and are never made by arithmetic."""

from enum import StrEnum


class LotKind(StrEnum):
    """Where points came from: points granted together share one expiry."""

    GRACE = "grace"
    DAILY = "daily"
    PLAN = "plan"
    BONUS = "bonus"
    TOPUP = "topup"


class Book(StrEnum):
    """Where points of a lot stand.

    `ISSUED` mirrors `granted` with the opposite sign. `REVOKED` points were taken back by a
    correction; `EXPIRED` ones died with their lot.
    """

    ISSUED = "issued"
    AVAILABLE = "available"
    HELD = "held"
    SPENT = "spent"
    EXPIRED = "expired"
    REVOKED = "revoked"


class TxKind(StrEnum):
    """Why points moved. A job has one `HOLD`, then one `SETTLE` or one `REFUND`."""

    GRANT = "grant"
    HOLD = "hold"
    SETTLE = "settle"
    REFUND = "refund"
    EXPIRE = "expire"
    REVOKE = "revoke"


class Fault(StrEnum):
    """Whose doing it is that a job ends without a video.

    Points of a lot that expired while they were held are lost if it was the client's, or a job
    sent at 23:59 and canceled at 00:01 would carry daily points into the next day. If it was
    ours, the client gets them again for a while.
    """

    OURS = "ours"
    CLIENTS = "clients"
