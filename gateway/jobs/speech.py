"""How long a digital human will speak: what the hold is for, before anything is spoken.

Of a text an estimate from above, of a recording what its file says. Both without decoding.
"""

from gateway.domain.errors import (
    AudioTooLong,
    AudioUnreadable,
    InvalidRequest,
    TextTooLong,
    TextUnspeakable,
)
from gateway.jobs import audio
from gateway.jobs.audio import GivenAudio
from models.card import ModelCard
from models.refusal import InputUnusable
from models.spec import Emotion, SpokenText
from models.speech.probe import probe_duration_s
from models.speech.script import check_text, estimate_seconds

TEXT_PARAM = "speech.text"
MAX_TEXT_CHARS = 5000
"""Nobody speaks as much in a minute; longer texts are not even estimated."""


def measure_speech(
    speech: SpokenText | GivenAudio, card: ModelCard, emotion: Emotion | None = None
) -> float:
    """Seconds of speech; of a text at the most, for `emotion` slows it down.

    Raises:
        TextUnspeakable, TextTooLong, AudioUnreadable, AudioTooLong: naming limit and value.
    """
    limit_s = max(card.seconds)
    is_text = isinstance(speech, SpokenText)
    seconds = (
        _text_seconds(speech, emotion) if isinstance(speech, SpokenText) else _audio_seconds(speech)
    )
    if seconds > limit_s:
        refused: type[InvalidRequest] = TextTooLong if is_text else AudioTooLong
        param = TEXT_PARAM if is_text else audio.PARAM
        raise refused(
            f"{param} takes {seconds:.1f} s, {limit_s} s are allowed",
            param=param,
            limit=limit_s,
            value=round(seconds, 2),
        )
    return seconds


def _text_seconds(speech: SpokenText, emotion: Emotion | None) -> float:
    if len(speech.text) > MAX_TEXT_CHARS:
        raise TextTooLong(
            f"{TEXT_PARAM} has {len(speech.text)} characters, {MAX_TEXT_CHARS} are allowed",
            param=TEXT_PARAM,
            limit=MAX_TEXT_CHARS,
            value=len(speech.text),
        )
    try:
        check_text(speech.text, speech.language)
    except InputUnusable as error:
        raise TextUnspeakable(
            error.message, param=TEXT_PARAM, limit="words of its language", value=len(speech.text)
        ) from None
    return estimate_seconds(speech.text, speech.language, speech.speed, emotion)


def _audio_seconds(given: GivenAudio) -> float:
    try:
        return probe_duration_s(given.data)
    except InputUnusable as error:
        raise AudioUnreadable(
            error.message, param=audio.PARAM, limit=audio.FORMATS, value=len(given.data)
        ) from None
