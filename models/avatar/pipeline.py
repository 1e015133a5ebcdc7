"""The digital human on a CPU: a portrait warped by speech. No diffusion model, and it says so.

Speech is made in `generate`; a frame is drawn when it is read, or a few frames before.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2

from models.assets import AssetMissing
from models.assets.manifest import FILES
from models.avatar.acting import act
from models.avatar.check import Limits, check_clip
from models.avatar.drawing import Drawing
from models.avatar.faces import ASSETS, Faces
from models.avatar.lookahead import drawn_ahead
from models.avatar.portrait import choose_face, read_picture
from models.card import ModelCard, SpecError
from models.pipeline import Clip, InputRefused, LoadFailed, StepCallback
from models.refusal import Refusal
from models.spec import Performance, Stage, VideoSpec
from models.speech.speak import perform
from models.speech.track import Spoken
from models.speech.voices import Voices, load_voices

Speak = Callable[[Performance, int, float], Spoken]
"""Gives speech to a performance; after it a seed and the most seconds. Raises `InputRefused`."""


class AvatarPipeline:
    """A `VideoPipeline` for `Kind.DIGITAL_HUMAN`, on the CPU whatever the device.

    Args:
        speak: gives speech to a performance; without it the voices of the card do.
    """

    def __init__(self, speak: Speak | None = None) -> None:
        self._speak = speak
        self._faces: Faces | None = None
        self._weights_bytes = 0

    @property
    def memory_bytes(self) -> int:
        """The networks that find faces; 0 before `load`."""
        return self._weights_bytes

    def load(self, card: ModelCard, device: str) -> None:  # noqa: ARG002  # always on the CPU
        """Read the networks that find faces.

        Raises:
            LoadFailed: they have not been fetched.
        """
        try:
            self._faces = Faces.fetched()
        except AssetMissing as error:
            raise LoadFailed(str(error)) from error
        if self._speak is None:
            file = card.options.get("voices_file")
            self._speak = with_voices(load_voices(Path(str(file)) if file else None))
        # Whole frames are drawn side by side; more threads within each would only wait in line.
        cv2.setNumThreads(1)
        self._weights_bytes = sum(FILES[name].size_bytes for name in ASSETS)

    def generate(
        self,
        specs: Sequence[VideoSpec],
        on_step: StepCallback,
        *,
        low_memory: bool = False,  # noqa: ARG002  # it needs little as it is
    ) -> Sequence[Clip]:
        """Speak `specs`; their frames are drawn while the clips are read. See `VideoPipeline`.

        Raises:
            InputRefused: a portrait or a speech cannot be used.
        """
        clips = []
        for done, spec in enumerate(specs):
            on_step(Stage.SPEAKING, done, len(specs))
            clips.append(self._clip(spec))
        on_step(Stage.SPEAKING, len(specs), len(specs))
        return clips

    def _clip(self, spec: VideoSpec) -> Clip:
        if self._faces is None or self._speak is None:
            raise LoadFailed("generate was called before load")
        performance, image = parts_of(spec)
        # The picture first: refusing it takes a moment, speaking takes seconds.
        picture = read_picture(image)
        mesh = choose_face(picture, self._faces, performance.face)
        spoken = self._speak(performance, spec.seed, spec.num_frames / spec.fps)
        num_frames = frames_of(spoken.duration_s, spec)
        rows = act(
            spoken.mouth,
            performance.emotion,
            motion=performance.motion,
            seed=spec.seed,
            fps=spec.fps,
            num_frames=num_frames,
        )
        drawing = Drawing(picture, mesh.points, spec.width, spec.height)
        return Clip(
            frames=drawn_ahead(drawing, rows),
            fps=Fraction(spec.fps),
            audio=spoken.audio,
            num_frames=num_frames,
            stage=Stage.RENDERING,
            check=checked(self._faces, spoken.duration_s),
        )


def with_voices(voices: Voices) -> Speak:
    """Speech by these voices, or by a recording."""

    def speak(performance: Performance, seed: int, max_s: float) -> Spoken:
        return perform(
            performance.speech, performance.emotion, voices=voices, seed=seed, max_s=max_s
        )

    return speak


def frames_of(duration_s: float, spec: VideoSpec) -> int:
    """Frames of a clip as long as its speech, to the nearest frame.

    Raises:
        InputRefused: longer than the job may be.
    """
    num_frames = max(1, round(duration_s * spec.fps))
    if num_frames > spec.num_frames:
        raise InputRefused(
            Refusal.AUDIO_TOO_LONG,
            f"The speech takes {duration_s:.1f} s; "
            f"at most {spec.num_frames / spec.fps:.1f} s are allowed.",
        )
    return num_frames


def parts_of(spec: VideoSpec) -> tuple[Performance, Path]:
    """What is said and who says it.

    Raises:
        SpecError: one of them is missing.
    """
    if spec.performance is None:
        raise SpecError("performance", "performance is missing", limit="required", value=None)
    if spec.image is None:
        raise SpecError("image", "image is missing", limit="required", value=None)
    return spec.performance, spec.image


def checked(faces: Faces, duration_s: float) -> Callable[[Path, int, Fraction], dict[str, float]]:
    """The check of a clip whose sound lasts `duration_s`."""

    def check(path: Path, num_frames: int, fps: Fraction) -> dict[str, float]:
        return check_clip(path, faces, Limits(num_frames, float(fps), duration_s))

    return check
