"""Digital humans with LTX-2.x: a portrait and a voice become a talking video on a GPU.

What is said becomes latents that hold still while the picture is denoised to them, in pieces of
five seconds that each begin with the last frames of the one before. The sound of the clip is the
one that was spoken, not what the model would make of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from models.adapters.common import memory_errors_named
from models.adapters.fitting import problem_of_options
from models.adapters.folder import read_class_name
from models.adapters.ltx2 import LTX2Adapter
from models.adapters.ltx_chunks import frame_levels, plan_chunks
from models.adapters.ltx_pieces import Job, denoise, read_frames
from models.adapters.ltx_stages import Stages, load_stages
from models.adapters.ltx_store import ChunkStore, fingerprint
from models.assets import AssetMissing, asset_path
from models.avatar.faces import ASSETS, Faces, Mesh
from models.avatar.framing import make_plate
from models.avatar.pipeline import Speak, checked, frames_of, parts_of, with_voices
from models.avatar.portrait import choose_face, read_picture
from models.card import ModelCard
from models.pipeline import Clip, Frame, LoadFailed, StepCallback
from models.spec import Stage, VideoSpec
from models.speech.voices import load_voices

MAX_PROMPT_TOKENS = 1024
OPTIONS = frozenset({"max_sequence_length", "offload", "upsampler", "vae_tiling", "voices_file"})


@dataclass(frozen=True)
class _Loaded:
    card: ModelCard
    stages: Stages
    faces: Faces
    speak: Speak


class LtxAvatarPipeline:
    """A `VideoPipeline` for `Kind.DIGITAL_HUMAN`.

    Options of a card: `upsampler`, a folder, where it does not lie in the checkpoint's own
    `latent_upsampler`; `offload`, as all families have it; `vae_tiling`;
    `max_sequence_length` of the prompt; `voices_file`.

    Args:
        speak: gives speech to a performance; without it the voices of the card do.
    """

    def __init__(self, speak: Speak | None = None) -> None:
        self._speak = speak
        self._loaded: _Loaded | None = None

    @property
    def memory_bytes(self) -> int:
        """What lies on the device at a time; 0 before `load`."""
        return self._loaded.stages.memory_bytes if self._loaded else 0

    def load(self, card: ModelCard, device: str) -> None:
        """Read the checkpoint of `card`: float32 on a CPU, else bfloat16.

        Raises:
            LoadFailed: names the folder or the asset and what to do.
        """
        folder = card.checkpoint_path(Path.cwd())
        options = card.options
        upsampler = Path(str(options["upsampler"])) if "upsampler" in options else None
        if problem := problem_of_options(card, OPTIONS):
            raise LoadFailed(f"model {card.id}: {problem}")
        read_class_name(card, folder, [*LTX2Adapter.classes, "LTX2DFRPipeline"])
        try:
            paths = [asset_path(name) for name in ASSETS]
            stages = load_stages(card, folder, upsampler, device)
        except AssetMissing as error:
            raise LoadFailed(str(error)) from error
        except LoadFailed:
            raise
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


def _prepare(loaded: _Loaded, spec: VideoSpec) -> Job:
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
    max_tokens = int(loaded.card.options.get("max_sequence_length", MAX_PROMPT_TOKENS))
    return Job(spec, portrait, audio, plan_chunks(levels), store, max_tokens)


def _make_clip(loaded: _Loaded, job: Job, on_step: StepCallback) -> Clip:
    spec = job.spec
    with memory_errors_named(f"{spec.size}, {job.chunks[-1].end} frames"):
        latents = denoise(loaded.stages, job, on_step)
    duration_s = job.audio.samples.shape[1] / job.audio.sample_rate
    return Clip(
        frames=read_frames(loaded.stages, job, latents, on_step),
        fps=Fraction(spec.fps),
        audio=job.audio,
        num_frames=job.chunks[-1].end,
        check=checked(loaded.faces, duration_s),
    )


def _portrait(picture: Frame, mesh: Mesh, width: int, height: int) -> Frame:
    """The head in the shape that is rendered, uint8 [height, width, 3]."""
    plate = make_plate(picture, mesh.points, width, height)
    inside = slice(plate.margin, -plate.margin)
    return np.ascontiguousarray(plate.picture[inside, inside])


def _rounded_up(side: int, stages: Stages) -> int:
    return -(-side // stages.size_multiple) * stages.size_multiple
