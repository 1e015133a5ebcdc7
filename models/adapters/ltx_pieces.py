"""The pieces of one talking video, denoised one after the other and decoded as they are read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diffusers.pipelines.ltx2.dfr_layout import resolve_canvas
from torch import Tensor

from models.adapters.common import memory_errors_named
from models.adapters.ltx_chunks import CARRIED_FRAMES, Chunk
from models.adapters.ltx_prompt import describe_performance
from models.adapters.ltx_sound import encode_speech, latents_per_second, slice_speech
from models.adapters.ltx_stages import ChunkRequest, Frames, Stages
from models.adapters.ltx_store import ChunkStore
from models.avatar.pipeline import parts_of
from models.pipeline import Audio, Frame, StepCallback
from models.spec import Stage, VideoSpec


@dataclass(frozen=True)
class Job:
    """One digital human, ready to be denoised.

    Attributes:
        portrait: uint8 [height, width, 3], RGB, in the shape that is rendered.
        audio: what is said, and heard in the end.
        max_tokens: of its prompt.
    """

    spec: VideoSpec
    portrait: Frame
    audio: Audio
    chunks: list[Chunk]
    store: ChunkStore
    max_tokens: int


def denoise(stages: Stages, job: Job, on_step: StepCallback) -> list[Tensor]:
    """Latents of every piece, in host memory; those that are stored already are taken as they are.

    A piece needs the pixels before it, so all but the last are decoded here too.
    """
    made: list[Tensor] = []
    given: Frames = job.portrait[None]
    progress = _Progress(on_step, stages.num_steps, len(job.chunks))
    requests = None
    for number, chunk in enumerate(job.chunks):
        latents = job.store.find_chunk(number)
        if latents is None:
            requests = requests or _Requests(stages, job)
            progress.begin(number)
            latents = stages.sample(requests.of(chunk, given), progress.step).cpu()
            job.store.keep_chunk(number, latents)
        made.append(latents)
        progress.begin(number + 1)
        if chunk.end < job.chunks[-1].end:
            decoded = stages.decode(latents)[: chunk.end - chunk.first]
            # A copy, or the whole piece would stay in memory.
            given = decoded[-CARRIED_FRAMES:].copy()
            progress.report(given[-1])
    return made


class _Requests:
    """What the pieces of a job share: prompt and sound, encoded once."""

    def __init__(self, stages: Stages, job: Job) -> None:
        performance, _ = parts_of(job.spec)
        self._spec = job.spec
        self._shape = job.portrait.shape[:2]
        self._prompt = stages.encode_prompt(
            describe_performance(performance, job.spec.prompt), job.max_tokens
        )
        audio_vae = stages.pipe.audio_vae
        self._ratio = stages.pipe.vae_temporal_compression_ratio
        self._per_second = latents_per_second(audio_vae)
        last = job.chunks[-1]
        end = last.first + self._canvas(last)
        self._sound = encode_speech(audio_vae, job.audio, end / job.spec.fps, stages.device)

    def of(self, chunk: Chunk, given: Frames) -> ChunkRequest:
        """The request of `chunk`, which begins with `given`."""
        spec = self._spec
        sound = slice_speech(
            self._sound,
            self._per_second,
            first=chunk.first,
            num_frames=self._canvas(chunk),
            fps=spec.fps,
        )
        height, width = self._shape
        return ChunkRequest(
            given=given,
            sound=sound,
            prompt=self._prompt,
            num_frames=chunk.num_frames,
            width=width,
            height=height,
            fps=spec.fps,
            seed=spec.seed,
        )

    def _canvas(self, chunk: Chunk) -> int:
        """Frames that the pipeline works on; it listens to all of them."""
        canvas: int = resolve_canvas(chunk.num_frames, self._ratio)[0]
        return canvas


class _Progress:
    """Denoising steps over all pieces of a job."""

    def __init__(self, on_step: StepCallback, steps: int, num_chunks: int) -> None:
        self._on_step = on_step
        self._steps = steps
        self._total = steps * num_chunks
        self._done = 0

    def begin(self, chunk: int) -> None:
        """All pieces before `chunk` are done."""
        self._done = chunk * self._steps
        self._on_step(Stage.DENOISING, self._done, self._total)

    def step(self) -> None:
        """One step more."""
        self._done += 1
        self._on_step(Stage.DENOISING, self._done, self._total)

    def report(self, preview: Frame) -> None:
        """A picture of how it goes."""
        self._on_step(Stage.DENOISING, self._done, self._total, [preview])


def read_frames(
    stages: Stages, job: Job, latents: Sequence[Tensor], on_step: StepCallback
) -> Iterator[Frame]:
    """Every frame of the clip once; the frames of one piece are in memory at a time."""
    for number, (chunk, piece) in enumerate(zip(job.chunks, latents, strict=True)):
        on_step(Stage.DECODING, number, len(job.chunks))
        yield from _frames_of_chunk(stages, job, chunk, piece)


def _frames_of_chunk(stages: Stages, job: Job, chunk: Chunk, piece: Tensor) -> Iterator[Frame]:
    top, left = _corner(job)
    with memory_errors_named(f"decoding {job.spec.size}"):
        decoded = stages.decode(piece)
    for frame in decoded[chunk.carried : chunk.end - chunk.first]:
        yield frame[top : top + job.spec.height, left : left + job.spec.width].copy()


def _corner(job: Job) -> tuple[int, int]:
    """Where the video begins in what is rendered, which may be larger: top, left."""
    height, width = job.portrait.shape[:2]
    return (height - job.spec.height) // 2, (width - job.spec.width) // 2
