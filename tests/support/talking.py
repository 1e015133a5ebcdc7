"""What the tests of digital humans share: a model that nobody renders, recordings, requests."""

import base64
import io
import math
import struct
import wave
from pathlib import Path
from typing import Any

from tests.support.api import png_bytes

MODEL = "talker"
TEXT = "Hello, this is a test."
CARD = """
  - id: talker
    title: Talker
    adapter: models.adapters.wan:WanAdapter
    checkpoint: nowhere
    licence: Apache-2.0
    kinds: [digital_human]
    sizes: [720x720, 720x1280, 1280x720, 1080x1920]
    size_multiple: 2
    fps: [20, 40]
    seconds: [2, 5, 10, 60]
    num_frames: {multiple: 1, offset: 0, min: 1, max: 2400}
    num_inference_steps: {min: 1, max: 1, default: 1}
    guidance_scale: {min: 1.0, max: 1.0, default: 1.0}
    max_prompt_chars: 0
    voices:
      - {id: mei, title: Mei, languages: [zh]}
      - {id: ann, title: Ann, languages: [en]}
    deadline_s: 600
"""
PRICE = """
  - model: talker
    points_per_second: 10
    multipliers:
      resolution: {720: 1, 1080: 2}
      fps: {20: 1, 40: 1.5}
"""


def add_talker(config_dir: Path) -> None:
    """Serve the model before the digital human of the folder; its price is 10 points a second."""
    for name, part, before in (
        ("models.yaml", CARD, "\n  - id: reel-avatar\n"),
        ("pricing.yaml", PRICE, "\n  - model: reel-avatar\n"),
    ):
        path = config_dir / name
        old = path.read_text("utf-8")
        assert before in old
        path.write_text(old.replace(before, part + before, 1), "utf-8")


def wav_bytes(seconds: float, rate: int = 8000) -> bytes:
    """A tone of 220 Hz as a WAV file."""
    file = io.BytesIO()
    samples = [
        int(9000 * math.sin(2 * math.pi * 220 * k / rate)) for k in range(round(seconds * rate))
    ]
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return file.getvalue()


def data_url(content: bytes, media_type: str) -> str:
    """`content` as a URL."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def talking(**fields: Any) -> dict[str, Any]:
    """A request as JSON; a field that is None is left out."""
    body = {
        "speech": {"type": "text", "text": TEXT},
        "input_reference": data_url(png_bytes(256, 256), "image/png"),
        **fields,
    }
    return {name: value for name, value in body.items() if value is not None}


def recorded(seconds: float) -> dict[str, str]:
    """The field `speech` with a recording of this length."""
    return {"type": "audio", "audio": data_url(wav_bytes(seconds), "audio/wav")}
