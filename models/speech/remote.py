"""A voice behind an OpenAI-compatible `/v1/audio/speech`: another engine, a cloned voice.

It tells no phones, so the mouth is made from its sound.
"""

import io
import os
from dataclasses import dataclass

import av
import httpx2
import numpy as np

from models.speech.voice import SAMPLE_RATE, Samples, Utterance, VoiceFailed

_MAX_BYTES = 32 << 20
_MIN_SPEED, _MAX_SPEED = 0.25, 4.0
_SHOWN_CHARS = 200


@dataclass(frozen=True)
class OpenAISpeechVoice:
    """Speaks by HTTP.

    Attributes:
        url: of the API, `https://host/v1`; `/audio/speech` is put to it.
        model: the engine's name for itself.
        voice: the engine's name for the speaker.
        api_key_env: the environment variable with the key; None where none is asked for.
        languages: what the speaker speaks.
        timeout_s: for the whole answer to begin, and between its parts.
    """

    url: str
    model: str
    voice: str
    api_key_env: str | None = None
    languages: tuple[str, ...] = ("zh", "en")
    timeout_s: float = 60.0

    def say(self, text: str, pace: float, seed: int) -> Utterance:
        """Speak `text`. What the engine draws by chance, `seed` cannot fix.

        Raises:
            VoiceFailed: no answer, a refusal, too much sound, or none.
        """
        del seed
        sound = self._ask(text, min(max(pace, _MIN_SPEED), _MAX_SPEED))
        return Utterance(_decode(sound), None)

    def _ask(self, text: str, speed: float) -> bytes:
        body = {
            "model": self.model,
            "voice": self.voice,
            "input": text,
            "speed": speed,
            "response_format": "wav",
        }
        address = self.url.rstrip("/") + "/audio/speech"
        try:
            with (
                httpx2.Client(timeout=self.timeout_s) as client,
                client.stream("POST", address, json=body, headers=self._headers()) as answer,
            ):
                return self._read(answer)
        except httpx2.HTTPError as error:
            raise VoiceFailed(f"voice {self.voice} at {self.url}: {error!r}") from error

    def _read(self, answer: httpx2.Response) -> bytes:
        sound = bytearray()
        for part in answer.iter_bytes():
            sound += part
            if len(sound) > _MAX_BYTES:
                raise VoiceFailed(f"voice {self.voice}: its answer is over {_MAX_BYTES} bytes")
        if answer.status_code != httpx2.codes.OK:
            said = bytes(sound[:_SHOWN_CHARS]).decode(errors="replace")
            raise VoiceFailed(f"voice {self.voice}: HTTP {answer.status_code}: {said}")
        return bytes(sound)

    def _headers(self) -> dict[str, str]:
        if self.api_key_env is None:
            return {}
        key = os.environ.get(self.api_key_env)
        if not key:
            raise VoiceFailed(f"voice {self.voice} needs its key in {self.api_key_env}")
        return {"Authorization": f"Bearer {key}"}


def _decode(sound: bytes) -> Samples:
    """Mono samples at `SAMPLE_RATE` of a file in memory."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    chunks: list[Samples] = []
    try:
        with av.open(io.BytesIO(sound), mode="r", format="wav") as container:
            for frame in container.decode(audio=0):
                chunks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            chunks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise VoiceFailed("the voice's answer is no WAV file") from error
    if not chunks:
        raise VoiceFailed("the voice's answer holds no sound")
    return np.concatenate(chunks)
