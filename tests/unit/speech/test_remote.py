"""A voice behind HTTP, against a real server on this machine."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from typing_extensions import override

from models.configfile import ConfigError
from models.spec import Emotion, SpokenText
from models.speech import remote
from models.speech.remote import OpenAISpeechVoice
from models.speech.speak import perform
from models.speech.voice import SAMPLE_RATE, VoiceFailed
from models.speech.voices import Voices, load_voices
from tests.support.sounds import encode


class Engine(HTTPServer):
    """Answers every request with `status` and `answer`; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.answer = encode("wav", 1.0, channels=2, rate=44_100)
        self.asked: list[tuple[str, str | None, dict[str, object]]] = []

    @property
    def url(self) -> str:
        """Where it listens, up to the version."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_POST(self) -> None:
        """Keep what was asked; give the answer that the test wants."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers.get("Authorization"), body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.answer)

    @override
    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def engine() -> Iterator[Engine]:
    server = Engine()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_is_asked_in_the_words_of_the_api(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_KEY", "secret")
    said = OpenAISpeechVoice(engine.url, "tts", "nova", "ENGINE_KEY").say("Hello", 1.25, 0)
    assert said.sounds is None
    assert said.duration_s == pytest.approx(1.0, abs=0.01)
    ((path, key, body),) = engine.asked
    assert (path, key) == ("/v1/audio/speech", "Bearer secret")
    assert body == {
        "model": "tts", "voice": "nova", "input": "Hello", "speed": 1.25, "response_format": "wav",
    }  # fmt: skip


def test_its_mouth_is_made_from_its_sound(engine: Engine) -> None:
    voices = Voices({"mine": OpenAISpeechVoice(engine.url, "tts", "nova")})
    spoken = perform(SpokenText(text="Hello", voice_id="mine"), Emotion(), voices=voices)
    assert spoken.mouth.closures_s == ()
    assert len(spoken.mouth.controls) == -(-spoken.audio.samples.shape[1] * 100 // SAMPLE_RATE)
    assert np.isfinite(spoken.mouth.controls).all()


@pytest.mark.parametrize(
    ("status", "answer", "named"),
    [
        (401, b"no such key", "HTTP 401: no such key"),
        (200, b"not a wav", "no WAV file"),
        (200, b"", "no WAV file"),
    ],
)
def test_a_refusal_is_named(engine: Engine, status: int, answer: bytes, named: str) -> None:
    engine.status, engine.answer = status, answer
    with pytest.raises(VoiceFailed, match=named):
        OpenAISpeechVoice(engine.url, "tts", "nova").say("Hello", 1.0, 0)


def test_too_large_an_answer_is_cut_off(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_MAX_BYTES", 1000)
    with pytest.raises(VoiceFailed, match="over 1000 bytes"):
        OpenAISpeechVoice(engine.url, "tts", "nova").say("Hello", 1.0, 0)


def test_a_server_that_is_away_and_a_key_that_is_not_set_are_named() -> None:
    with pytest.raises(VoiceFailed, match="nova at"):
        OpenAISpeechVoice("http://127.0.0.1:9/v1", "tts", "nova").say("Hello", 1.0, 0)
    with pytest.raises(VoiceFailed, match="its key in NO_SUCH_KEY"):
        OpenAISpeechVoice("http://127.0.0.1:9/v1", "tts", "nova", "NO_SUCH_KEY").say("H", 1.0, 0)


def test_voices_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "voices.yaml"
    file.write_text(
        "voices:\n  mine:\n    url: http://127.0.0.1:9/v1\n    model: tts\n    voice: nova\n"
        "    languages: [en]\n"
    )
    voices = load_voices(file)
    assert list(voices.by_id) == ["mine", "zh-female-1", "en-female-1"]
    assert isinstance(voices.choose(None, "en"), OpenAISpeechVoice)
    assert not isinstance(voices.choose("mine", "zh"), OpenAISpeechVoice)
    file.write_text("voices:\n  mine:\n    url: nowhere\n    model: tts\n    voice: nova\n")
    with pytest.raises(ConfigError, match=r"voices\.yaml:3: voices\.mine\.url"):
        load_voices(file)
