"""What an exception in the child means for the job: a code, a safe sentence, worth a retry or not.

Texts of exceptions may hold paths or prompts, so they stay in the child's log; that of a refused
input, or of a failed check, is written for the client.
"""

from gateway.protocol import MAX_MESSAGE_CHARS, FailCode, FailureCode
from models.card import SpecError
from models.pipeline import Canceled, CheckFailed, InputRefused, OutOfMemory
from workers.media.label import LabelMissing
from workers.messages import Failed, RenderOrder
from workers.spool import is_disk_full


def describe_failure(order: RenderOrder, error: Exception) -> Failed:
    """The answer to `order` after `error` ended its rendering."""
    if isinstance(error, Canceled):
        return _failed(order, FailureCode.CANCELED, "The job was canceled.", retryable=False)
    if isinstance(error, OutOfMemory | MemoryError):
        message = "The device ran out of memory."
        # What could be done with less memory was tried on the spot.
        return _failed(order, FailureCode.OUT_OF_MEMORY, message, retryable=False)
    if isinstance(error, SpecError):
        message = f"The model does not accept {error.param} of this job."
        return _failed(order, FailureCode.MODEL_ERROR, message, retryable=False)
    if isinstance(error, InputRefused):
        return _failed(order, error.code, error.message, retryable=False)
    if isinstance(error, CheckFailed):
        message = f"The finished video did not pass its checks: {error}."
        return _failed(order, FailureCode.CHECK_FAILED, message, retryable=False)
    if isinstance(error, LabelMissing):
        message = "The video did not carry its generated-content label."
        return _failed(order, FailureCode.LABEL_MISSING, message, retryable=False)
    if is_disk_full(error):
        return Failed.for_disk_full(order.job_id)
    return _failed(order, FailureCode.MODEL_ERROR, "The model failed.", retryable=True)


def _failed(order: RenderOrder, code: FailCode, message: str, *, retryable: bool) -> Failed:
    return Failed(order.job_id, code, message[:MAX_MESSAGE_CHARS], retryable)
