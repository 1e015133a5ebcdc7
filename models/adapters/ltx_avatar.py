"""Digital humans with LTX-2.x: a portrait and a voice become a talking video on a GPU.

What is said becomes latents that hold still while the picture is denoised to them, in pieces of
five seconds that each begin with the last frames of the one before. The sound of the clip is the
one that was spoken, not what the model would make of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from diffusers.pipelines.ltx2.dfr_layout import resolve_canvas
from torch import Tensor

from models.adapters.common import memory_errors_named, weight_bytes
from models.adapters.ltx_chunks import CARRIED_FRAMES, Chunk, frame_levels, plan_chunks
from models.adapters.ltx_prompt import describe_performance
from models.adapters.ltx_sound import encode_speech, latents_per_second, slice_speech
from models.adapters.ltx_stages import ChunkRequest, Frames, Stages, load_stages
from models.adapters.ltx_store import ChunkStore, fingerprint
from models.assets import AssetMissing, asset_path
from models.avatar.faces import ASSETS, Faces, Mesh
from models.avatar.framing import make_plate
from models.avatar.pipeline import Speak, checked, frames_of, parts_of, with_voices
from models.avatar.portrait import choose_face, read_picture
from models.card import ModelCard
from models.pipeline import Audio, Clip, Frame, LoadFailed, StepCallback
from models.spec import Stage, VideoSpec
from models.speech.voices import load_voices

MAX_PROMPT_TOKENS = 1024


@dataclass(frozen=True)
class _Loaded:
    card: ModelCard
    stages: Stages
    faces: Faces
    speak: Speak


@dataclass(frozen=True)
class _Job:
    """One digital human, ready to be denoised."""

    spec: VideoSpec
    portrait: Frame
    audio: Audio
    chunks: list[Chunk]
    store: ChunkStore


class LtxAvatarPipeline:
    """A `VideoPipeline` for `Kind.DIGITAL_HUMAN`.

    Options of a card: `upsampler`, a folder, where it does not lie in the checkpoint's own
    `latent_upsampler`; `offload`, true to keep on the device only what works; `vae_tiling`;
    `max_sequence_length` of the prompt; `voices_file`.

    Args:
        speak: gives speech to a performance; without it the voices of the card do.
    """

    def __init__(self, speak: Speak | None = None) -> None:
        self._speak = speak
        self._loaded: _Loaded | None = None

    @property
    def memory_bytes(self) -> int:
        """All weights, wherever they wait; 0 before `load`."""
        if self._loaded is None:
            return 0
        stages = self._loaded.stages
        extra = [stages.upsample.latent_upsampler] if stages.upsample else []
        return weight_bytes([*stages.pipe.components.values(), *extra])

    def load(self, card: ModelCard, device: str) -> None:
        """Read the checkpoint of `card`: float32 on a CPU, else bfloat16.

        Raises:
            LoadFailed: names the folder or the asset and what to do.
        """
        folder = card.checkpoint_path(Path.cwd())
        options = card.options
        upsampler = Path(str(options["upsampler"])) if "upsampler" in options else None
        try:
            paths = [asset_path(name) for name in ASSETS]
            stages = load_stages(
                folder, upsampler, device, offload=bool(options.get("offload", False))
            )
        except AssetMissing as error:
            raise LoadFailed(str(error)) from error
        except Exception as error:
            # Whatever diffusers, safetensors or the device has against these files is one fault.
            raise LoadFailed(
                f"model {card.id}: {folder} does not load on {device} ({error}): "
                "put a complete diffusers folder of LTX-2.x there, or change `checkpoint`"
            ) from error
        _check_fits(card, stages)
        if options.get("vae_tiling", False):
            stages.pipe.vae.enable_tiling()
        file = options.get("voices_file")
        speak = self._speak or with_voices(load_voices(Path(str(file)) if file else None))
        short, full, mesh = paths
        self._loaded = _Loaded(card, stages, Faces(short=short, full=full, mesh=mesh), speak)

    def generate(
        self,
        specs: Sequence[VideoSpec],
        on_step: StepCallback,
        *,
        low_memory: bool = False,  # noqa: ARG002  # its card has no preset
    ) -> Sequence[Clip]:
        """Speak and denoise `specs` one after the other; clips decode while they are read.

        A spec with a workspace keeps every finished piece there, and begins behind those that an
        earlier attempt left. See `VideoPipeline`.

        Raises:
            InputRefused: a portrait or a speech cannot be used.
        """
        loaded = self._loaded
        if loaded is None:
            raise RuntimeError("load() comes before generate()")
        clips = []
        for done, spec in enumerate(specs):
            on_step(Stage.SPEAKING, done, len(specs))
            job = _prepare(loaded, spec)
            on_step(Stage.SPEAKING, done + 1, len(specs))
            clips.append(_make_clip(loaded, job, on_step))
        return clips


def _check_fits(card: ModelCard, stages: Stages) -> None:
    """Refuse a card that allows what these weights would silently round or ignore."""
    where = f"model {card.id}: its card does not fit the checkpoint"
    steps, guidance = card.num_inference_steps, card.guidance_scale
    num_steps = stages.num_steps
    if (steps.min, steps.max) != (num_steps, num_steps):
        raise LoadFailed(f"{where}: num_inference_steps must be {num_steps}, a fixed schedule")
    if guidance.max > 1:
        raise LoadFailed(f"{where}: guidance_scale must be 1, the schedule has no guidance")


def _prepare(loaded: _Loaded, spec: VideoSpec) -> _Job:
    performance, image = parts_of(spec)
    # The picture first: refusing it takes a moment, speaking takes seconds.
    picture = read_picture(image)
    mesh = choose_face(picture, loaded.faces, performance.face)
    store = ChunkStore(spec.workspace, fingerprint(spec, loaded.card))
    audio = store.find_speech()
    if audio is None:
        audio = loaded.speak(performance, spec.seed, spec.num_frames / spec.fps).audio
        store.keep_speech(audio)
    num_frames = frames_of(audio.samples.shape[1] / audio.sample_rate, spec)
    mono = audio.samples.mean(axis=0, dtype=np.float32)
    levels = frame_levels(mono, audio.sample_rate, spec.fps, num_frames)
    width, height = (_rounded_up(side, loaded.stages) for side in (spec.width, spec.height))
    portrait = _portrait(picture, mesh, width, height)
    return _Job(spec, portrait, audio, plan_chunks(levels), store)


def _make_clip(loaded: _Loaded, job: _Job, on_step: StepCallback) -> Clip:
    spec = job.spec
    with memory_errors_named(f"{spec.size}, {job.chunks[-1].end} frames"):
        latents = _denoise(loaded, job, on_step)
    duration_s = job.audio.samples.shape[1] / job.audio.sample_rate
    return Clip(
        frames=_frames(loaded.stages, job, latents, on_step),
        fps=Fraction(spec.fps),
        audio=job.audio,
        num_frames=job.chunks[-1].end,
        check=checked(loaded.faces, duration_s),
    )


def _denoise(loaded: _Loaded, job: _Job, on_step: StepCallback) -> list[Tensor]:
    """Latents of every piece, in host memory; those that are stored already are taken as they are.

    A piece needs the pixels before it, so all but the last are decoded here too.
    """
    stages = loaded.stages
    made: list[Tensor] = []
    given: Frames = job.portrait[None]
    progress = _Progress(on_step, stages.num_steps, len(job.chunks))
    requests = None
    for number, chunk in enumerate(job.chunks):
        latents = job.store.find_chunk(number)
        if latents is None:
            requests = requests or _Requests(loaded, job)
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

    def __init__(self, loaded: _Loaded, job: _Job) -> None:
        stages, options = loaded.stages, loaded.card.options
        performance, _ = parts_of(job.spec)
        self._spec = job.spec
        self._shape = job.portrait.shape[:2]
        max_length = int(options.get("max_sequence_length", MAX_PROMPT_TOKENS))
        self._prompt = stages.encode_prompt(
            describe_performance(performance, job.spec.prompt), max_length
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


def _frames(
    stages: Stages, job: _Job, latents: Sequence[Tensor], on_step: StepCallback
) -> Iterator[Frame]:
    """Every frame of the clip once; the frames of one piece are in memory at a time."""
    for number, (chunk, piece) in enumerate(zip(job.chunks, latents, strict=True)):
        on_step(Stage.DECODING, number, len(job.chunks))
        yield from _frames_of_chunk(stages, job, chunk, piece)


def _frames_of_chunk(stages: Stages, job: _Job, chunk: Chunk, piece: Tensor) -> Iterator[Frame]:
    top, left = _corner(job)
    with memory_errors_named(f"decoding {job.spec.size}"):
        decoded = stages.decode(piece)
    for frame in decoded[chunk.carried : chunk.end - chunk.first]:
        yield frame[top : top + job.spec.height, left : left + job.spec.width].copy()


def _corner(job: _Job) -> tuple[int, int]:
    """Where the video begins in what is rendered, which may be larger: top, left."""
    height, width = job.portrait.shape[:2]
    return (height - job.spec.height) // 2, (width - job.spec.width) // 2


def _portrait(picture: Frame, mesh: Mesh, width: int, height: int) -> Frame:
    """The head in the shape that is rendered, uint8 [height, width, 3]."""
    plate = make_plate(picture, mesh.points, width, height)
    inside = slice(plate.margin, -plate.margin)
    return np.ascontiguousarray(plate.picture[inside, inside])


def _rounded_up(side: int, stages: Stages) -> int:
    return -(-side // stages.size_multiple) * stages.size_multiple
