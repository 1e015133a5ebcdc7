"""Whether lips move with the sound, and meet where they must; measured on the finished files."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import av
import numpy as np

from models.avatar.check import frames_of_file, lip_gaps, lip_sync, loudness, sound_of_file
from models.avatar.controls import Floats
from models.avatar.faces import Faces
from models.avatar.pipeline import AvatarPipeline
from models.card import ModelCard
from models.spec import (
    Emotion,
    EmotionName,
    Kind,
    Performance,
    SpokenAudio,
    SpokenText,
    VideoSpec,
)
from models.speech.speak import perform
from models.speech.track import Spoken
from models.speech.voices import Voices, load_voices
from tests.bench.avatar.inputs import SENTENCES, portraits, recorded
from workers.media.encode import encode_video
from workers.media.label import build_label

SIZE, FPS = 720, 48
MIN_R, MEDIAN_R = 0.4, 0.5
MAX_LAG_MS = 60.0
MIN_OVER_CONTROL = 0.3
MIN_CLOSED = 0.9
CLOSED_GAP = 0.25
"""Lips count as closed below this share of the way from the gap at rest to the largest."""

PERCENTILES = (15, 98)
"""Gap at rest and largest gap. A quarter of a clip's frames are rest; shut lips have a gap of
0.005 to 0.06 for the mesh, by the face."""

WITHIN_S = {"text": 1 / FPS, "recording": 0.05}
"""How far beside the time lips may meet; a recording is heard, not read."""

FEELINGS = (EmotionName.NEUTRAL, EmotionName.HAPPY, EmotionName.SAD)


@dataclass(frozen=True)
class Clip:
    """One clip and what was measured. `closed`: share of the known closures, `num_closures`."""

    name: str
    r: float
    lag_ms: float
    control_r: float
    closed: float
    num_closures: int

    def misses(self) -> list[str]:
        """Which limits it misses, as words."""
        limits = (
            (self.r >= MIN_R, f"r {self.r:.2f} < {MIN_R}"),
            (abs(self.lag_ms) <= MAX_LAG_MS, f"lag {self.lag_ms:.0f} ms"),
            (
                self.r - self.control_r >= MIN_OVER_CONTROL,
                f"control {self.control_r:.2f} less than {MIN_OVER_CONTROL} below",
            ),
        )
        return [words for is_kept, words in limits if not is_kept]

    def line(self) -> str:
        """The figures, and whether they will do."""
        verdict = ", ".join(self.misses())
        return (
            f"{self.name:32} {self.r:6.2f} {self.lag_ms:7.0f} {self.control_r:8.2f}"
            f" {self.closed:7.0%} of {self.num_closures:2}  "
            f"{'FAIL ' + verdict if verdict else 'PASS'}"
        )


HEAD = "clip                                r@0  lag ms  control  closed"


class Stage:
    """Makes the clips; `folder` takes their files."""

    def __init__(self, card: ModelCard, folder: Path) -> None:
        self._card, self._folder = card, folder
        self._voices: Voices = load_voices()
        self._faces = Faces.fetched()
        self._spoken: Spoken | None = None
        self._pipeline = AvatarPipeline(self._speak)
        self._pipeline.load(card, "cpu")
        self._portraits = portraits(folder)

    def clips(self) -> list[tuple[str, str, str, int]]:
        """Face, language, kind of speech and which sentence, for every clip."""
        found = list(product(self._portraits, SENTENCES, ("text", "recording")))
        return [(*each, index // 4) for index, each in enumerate(found)]

    def measure(self, face: str, language: str, kind: str, index: int) -> Clip:
        """Make one clip and measure its file."""
        text = SENTENCES[language][index]
        known: tuple[float, ...] = ()
        if kind == "text":
            speech: SpokenText | SpokenAudio = SpokenText(text=text)
        else:
            heard = recorded(
                self._voices.choose(None, language), text, seed=index, pitch=(0.9, 1.0, 1.1)[index]
            )
            path = self._folder / "speech.wav"
            path.write_bytes(heard.data)
            speech, known = SpokenAudio(path=path), heard.closures_s
        path = self._render(face, speech, FEELINGS[index])
        assert self._spoken is not None
        closures = known or self._spoken.mouth.closures_s
        return self._measured(f"{face}, {language}, {kind}", path, closures, WITHIN_S[kind])

    def _speak(self, performance: Performance, seed: int, max_s: float) -> Spoken:
        self._spoken = perform(
            performance.speech, performance.emotion, voices=self._voices, seed=seed, max_s=max_s
        )
        return self._spoken

    def _render(self, face: str, speech: SpokenText | SpokenAudio, feeling: EmotionName) -> Path:
        spec = VideoSpec(
            kind=Kind.DIGITAL_HUMAN,
            model=self._card.id,
            prompt="",
            width=SIZE,
            height=SIZE,
            num_frames=20 * FPS,
            fps=FPS,
            num_inference_steps=1,
            guidance_scale=1,
            seed=1,
            image=self._portraits[face],
            performance=Performance(speech=speech, emotion=Emotion(name=feeling)),
        )
        [clip] = self._pipeline.generate([spec], lambda *_, **__: None)
        path = self._folder / "clip.mp4"
        assert clip.num_frames is not None
        encode_video(clip, path, num_frames=clip.num_frames, label=build_label("bench", "bench"))
        return path

    def _measured(
        self, name: str, path: Path, closures_s: tuple[float, ...], within_s: float
    ) -> Clip:
        with av.open(str(path)) as container:
            gaps = lip_gaps(frames_of_file(container), self._faces)
        samples, rate = sound_of_file(path)
        sync = lip_sync(gaps, loudness(samples, rate, FPS, len(gaps)), FPS)
        return Clip(
            name,
            sync["lip_sync_r"],
            sync["lip_sync_lag_ms"],
            sync["lip_sync_control_r"],
            closed_share(gaps, closures_s, within_s),
            len(closures_s),
        )


def closed_share(gaps: Floats, closures_s: tuple[float, ...], within_s: float) -> float:
    """Share of the times `closures_s` at which the lips meet; `gaps` at `FPS`."""
    low, high = np.nanpercentile(gaps, PERCENTILES)
    limit = low + CLOSED_GAP * (high - low)
    reach = round(within_s * FPS)
    met = []
    for closure in closures_s:
        at = min(int(closure * FPS), len(gaps) - 1)
        met.append(np.nanmin(gaps[max(at - reach, 0) : at + reach + 1]) <= limit)
    return float(np.mean(met)) if met else 1.0


def misses(clips: list[Clip]) -> list[str]:
    """What is not as it should be, as sentences."""
    wrong = [f"{clip.name}: {', '.join(clip.misses())}" for clip in clips if clip.misses()]
    median = float(np.median([clip.r for clip in clips]))
    if median < MEDIAN_R:
        wrong.append(f"median r {median:.2f} < {MEDIAN_R}")
    closed = closed_in_all(clips)
    if closed < MIN_CLOSED:
        wrong.append(f"closed {closed:.0%} < {MIN_CLOSED:.0%}")
    return wrong


def closed_in_all(clips: list[Clip]) -> float:
    """Share of the closures of all clips; one clip has too few of them for a share of its own."""
    return sum(c.closed * c.num_closures for c in clips) / sum(c.num_closures for c in clips)
