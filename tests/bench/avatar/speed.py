"""A minute of speech at full size through a worker's child: how long, how much memory."""

from dataclasses import dataclass
from pathlib import Path

from models.card import ModelCard
from models.spec import Kind, Performance, SpokenAudio, SpokenText, VideoSpec
from models.speech.voices import load_voices
from tests.bench.avatar.child import MIB, Run, run_job
from tests.bench.avatar.inputs import MINUTE_ZH, cut, portraits, recorded_minute

WIDTH, HEIGHT, FPS = 1080, 1920, 48
PROTOTYPE = "first trial: 57 s of 1080x1080 in 103 s, x1.81, busy machine"
MOST_TIMES = 2.5
MOST_BYTES = 1.5e9
MOST_GROWTH = 1.1


@dataclass(frozen=True)
class Case:
    """One input. `num_frames`: what must come out, None where only the voice knows."""

    name: str
    speech: SpokenText | SpokenAudio
    num_frames: int | None


@dataclass(frozen=True)
class Timed:
    """A case and its run."""

    case: Case
    run: Run

    @property
    def times(self) -> float:
        """Wall time in lengths of the video."""
        return self.run.took.total_s / self.run.rendered.duration_s

    def lines(self) -> list[str]:
        """The figures, and how they are made up."""
        took, rendered = self.run.took, self.run.rendered
        head = (
            f"{self.case.name:18} {rendered.num_frames:6} {rendered.duration_s:7.2f}"
            f" {took.total_s:7.1f} x{self.times:5.2f} {took.pss_bytes / MIB:7.0f}"
            f" {took.rss_bytes / MIB:7.0f}   {rendered.checks['lip_sync_r']:.2f}"
        )
        parts = [
            f"    {stage:18} {wall:6.1f} s wall {took.cpu_s[stage]:6.1f} s processor"
            for stage, wall in took.wall_s.items()
        ]
        return [head, *parts]


HEAD = "input              frames seconds  took s  times   PSS MiB RSS MiB   r"


def cases(folder: Path, *, quick: bool) -> list[Case]:
    """Text and recording, long and short; `quick`: short alone."""
    voices = load_voices()
    minute = recorded_minute(voices.choose(None, "zh"))
    made = []
    for seconds in (5,) if quick else (10, 60):
        path = folder / f"{seconds}.wav"
        path.write_bytes(cut(minute, seconds))
        num_chars = len(MINUTE_ZH) * seconds // 60
        made += [
            Case(f"text, {seconds} s", SpokenText(text=MINUTE_ZH[:num_chars]), None),
            Case(f"recording, {seconds} s", SpokenAudio(path=path), seconds * FPS),
        ]
    return made


def measure_speed(card: ModelCard, folder: Path, case: Case) -> Timed:
    """Run `case` in a fresh child."""
    spec = VideoSpec(
        kind=Kind.DIGITAL_HUMAN,
        model=card.id,
        prompt="",
        width=WIDTH,
        height=HEIGHT,
        num_frames=60 * FPS,
        fps=FPS,
        num_inference_steps=1,
        guidance_scale=1,
        seed=1,
        image=portraits(folder)["photo"],
        performance=Performance(speech=case.speech),
    )
    return Timed(case, run_job(card, spec, folder / "bench-1"))


def misses(found: list[Timed]) -> list[str]:
    """What of `found` is not as it should be, as sentences."""
    wrong = []
    for timed in found:
        name, rendered = timed.case.name, timed.run.rendered
        wanted = timed.case.num_frames or round((rendered.audio_s or 0) * FPS)
        if abs(rendered.num_frames - wanted) > (timed.case.num_frames is None):
            wrong.append(f"{name}: {rendered.num_frames} frames, not {wanted}")
        if timed.times > MOST_TIMES:
            wrong.append(f"{name}: x{timed.times:.2f} of real time, allowed x{MOST_TIMES}")
        if timed.run.took.rss_bytes > MOST_BYTES:
            wrong.append(f"{name}: {timed.run.took.rss_bytes / MIB:.0f} MiB")
    return wrong + _growth(found)


def _growth(found: list[Timed]) -> list[str]:
    """Memory must not depend on length: the same kind of input, short and long."""
    wrong = []
    for kind in (SpokenText, SpokenAudio):
        same = [timed for timed in found if isinstance(timed.case.speech, kind)]
        peaks = [timed.run.took.rss_bytes for timed in same]
        if max(peaks) > MOST_GROWTH * min(peaks):
            wrong.append(
                f"{same[0].case.name} to {same[-1].case.name}: memory grows "
                f"x{max(peaks) / min(peaks):.2f}, allowed x{MOST_GROWTH}"
            )
    return wrong
