"""Everything the gateway refuses on purpose. HTTP statuses live in `gateway.api.errors`.

GatewayError
+- InvalidRequest            a parameter is wrong: names it, its limit and the value seen
|  +- UnknownParameter       no such parameter
|  +- ModelNotFound          no such model
|  +- InvalidImage           a given picture cannot be used
|  +- AudioUnreadable        a given recording cannot be used
|  +- AudioTooLong           it lasts longer than the model speaks
|  +- TextUnspeakable        a text to be spoken holds what no voice says
|  +- TextTooLong            it would last longer than the model speaks
|  +- UnsupportedByModel     no served model can do this
+- AuthenticationFailed      no key, or one that does not exist, expired or was revoked
+- AccountSuspended
+- PermissionDenied         the key does not open this
+- PlanLimit                 the plan does not allow this; names the smallest that does
+- NotFound                  no such thing, or somebody else's
|  +- ContentNotReady        the video is not finished, or has no such file
+- InsufficientPoints
+- TooManyJobs               as many jobs wait as the plan allows
+- DailyLimit                the plan's jobs of the day are used up
+- AlreadyDone               a grant, code or payment that counts once was used before
+- IdempotencyMismatch       a used key with another request
+- StaleAttempt              a worker speaks of an attempt that is no longer its own
+- Unavailable               a part we need is away; nothing happened
"""

from datetime import datetime
from typing import ClassVar

from typing_extensions import override


class GatewayError(Exception):
    """Base of all; `code` is stable and public, `message` is safe to show.

    Attributes:
        param: the request parameter at fault, if one is.
    """

    code: ClassVar[str]

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def details(self) -> dict[str, object]:
        """Further JSON-ready fields of the answer."""
        return {}


class InvalidRequest(GatewayError):
    """A parameter is wrong. `limit`: what would be right; `value`: what was seen."""

    code = "invalid_parameter"

    def __init__(
        self, message: str, *, param: str | None, limit: object = None, value: object = None
    ) -> None:
        super().__init__(message, param=param)
        self.limit = limit
        self.value = value

    @override
    def details(self) -> dict[str, object]:
        """The limit and the value seen."""
        return {"limit": self.limit, "value": self.value}


class UnknownParameter(InvalidRequest):
    """No parameter has this name."""

    code = "unknown_parameter"


class ModelNotFound(InvalidRequest):
    """No model of this id is served."""

    code = "model_not_found"


class InvalidImage(InvalidRequest):
    """A given picture is not one, is broken, or is too large."""

    code = "invalid_image"


class AudioUnreadable(InvalidRequest):
    """A given recording is not one, is broken, or is too heavy."""

    code = "audio_unreadable"


class AudioTooLong(InvalidRequest):
    """A given recording lasts longer than the model speaks. `limit`, `value`: seconds."""

    code = "audio_too_long"


class TextUnspeakable(InvalidRequest):
    """No voice can say this text."""

    code = "text_unspeakable"


class TextTooLong(InvalidRequest):
    """The text would take longer than the model speaks.

    `limit`, `value`: seconds; characters of a text that is far too long.
    """

    code = "text_too_long"


class UnsupportedByModel(InvalidRequest):
    """No served model can do this."""

    code = "unsupported_by_model"


class AuthenticationFailed(GatewayError):
    """The request carries no usable key."""

    code = "invalid_api_key"


class AccountSuspended(GatewayError):
    """The account may look, not submit."""

    code = "account_suspended"


class PermissionDenied(GatewayError):
    """The key is good, but its scope does not open this."""

    code = "permission_denied"


class PlanLimit(GatewayError):
    """The account's plan does not allow the request as it is."""

    code = "plan_limit"

    def __init__(
        self, *, param: str, limit: object, value: object, plan: str, smallest_plan: str | None
    ) -> None:
        other = f"; plan {smallest_plan} allows it" if smallest_plan else ""
        super().__init__(f"plan {plan} allows {param} {limit}, not {value}{other}", param=param)
        self.limit = limit
        self.value = value
        self.plan = plan
        self.smallest_plan = smallest_plan

    @override
    def details(self) -> dict[str, object]:
        """The limit, the value seen, and the smallest plan that allows it."""
        return {
            "limit": self.limit,
            "value": self.value,
            "plan": self.plan,
            "smallest_plan": self.smallest_plan,
        }


class NotFound(GatewayError):
    """It does not exist, or it belongs to somebody else."""

    code = "not_found"


class ContentNotReady(NotFound):
    """The job has no such file, or not yet."""

    code = "content_not_ready"


class InsufficientPoints(GatewayError):
    """The balance does not cover the price. Nothing was held."""

    code = "insufficient_points"

    def __init__(
        self,
        *,
        required: int,
        available: int,
        next_grant_at: datetime | None,
        cheaper: dict[str, object] | None = None,
    ) -> None:
        super().__init__(f"this video costs {required} points, {available} are available")
        self.required = required
        self.available = available
        self.next_grant_at = next_grant_at
        self.cheaper = cheaper

    @override
    def details(self) -> dict[str, object]:
        """Points required and available, when new ones come, and a request that would fit."""
        next_grant_at = self.next_grant_at.isoformat() if self.next_grant_at else None
        return {
            "required": self.required,
            "available": self.available,
            "next_grant_at": next_grant_at,
            "cheaper_request": self.cheaper,
        }


class TooManyJobs(GatewayError):
    """The account has as many waiting jobs as its plan allows."""

    code = "too_many_jobs"

    def __init__(self, *, limit: int) -> None:
        super().__init__(f"{limit} jobs are waiting; wait for one to begin")
        self.limit = limit

    @override
    def details(self) -> dict[str, object]:
        """The plan's limit."""
        return {"limit": self.limit}


class DailyLimit(GatewayError):
    """The plan's number of jobs a day is used up. No retry cures it today."""

    code = "daily_limit"

    def __init__(self, *, limit: int, resets_at: datetime) -> None:
        super().__init__(f"{limit} jobs a day are allowed, and they were sent")
        self.limit = limit
        self.resets_at = resets_at

    @override
    def details(self) -> dict[str, object]:
        """The plan's limit and when the next day begins."""
        return {"limit": self.limit, "resets_at": self.resets_at.isoformat()}


class AlreadyDone(GatewayError):
    """It counts once, and that was before. Nothing happened now."""

    code = "already_done"


class IdempotencyMismatch(GatewayError):
    """The idempotency key was used for another request."""

    code = "idempotency_mismatch"


class StaleAttempt(GatewayError):
    """The attempt has ended or was given to another worker; the sender drops the job."""

    code = "stale_attempt"


class Unavailable(GatewayError):
    """A part the gateway needs is away; nothing happened, the same request may be sent again."""

    code = "unavailable"
