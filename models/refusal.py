"""Why an input cannot be rendered, where only a renderer can tell; stable, shown to clients.

The gateway refuses what it can before a point is held; a job that is refused later is refunded.
"""

from enum import StrEnum


class Refusal(StrEnum):
    """What is wrong with the picture, the sound or the text of a digital human."""

    NO_FACE = "no_face"
    MULTIPLE_FACES = "multiple_faces"
    FACE_NOT_FOUND = "face_not_found"
    FACE_TOO_SMALL = "face_too_small"
    FACE_OCCLUDED = "face_occluded"
    AUDIO_UNREADABLE = "audio_unreadable"
    AUDIO_CHANNELS = "audio_channels"
    AUDIO_SILENT = "audio_silent"
    AUDIO_CLIPPED = "audio_clipped"
    AUDIO_TOO_SHORT = "audio_too_short"
    AUDIO_TOO_LONG = "audio_too_long"
    TEXT_UNSPEAKABLE = "text_unspeakable"
    TEXT_TOO_LONG = "text_too_long"


class InputUnusable(ValueError):
    """What was given cannot be used, as far as can be told without rendering.

    `message` is safe to show and says what to do.
    """

    def __init__(self, code: Refusal, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
