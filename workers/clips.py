"""A rendered clip to a finished attempt: its files and, last, the manifest that reports them."""

import time

import structlog

from gateway.protocol import ArtifactRole, CompleteRequest, Rendered
from models.pipeline import Clip, StepCallback
from models.spec import VideoSpec
from workers.media.encode import Encoded, EncodeError
from workers.media.finish import finish_clip
from workers.media.label import build_label
from workers.messages import RenderOrder
from workers.spool import AttemptFolder

CONTENT_TYPES = {
    ArtifactRole.VIDEO: "video/mp4",
    ArtifactRole.THUMBNAIL: "image/webp",
    ArtifactRole.SPRITESHEET: "image/jpeg",
}


log = structlog.stdlib.get_logger(__name__)


def write_clip(clip: Clip, order: RenderOrder, on_step: StepCallback) -> None:
    """Encode `clip` into the order's folder; reads its frames once.

    Raises:
        EncodeError, LabelMissing: the video is not what was asked for; no manifest is written.
        CheckFailed: the renderer is not content with the file; no manifest is written.
        OSError: the disk would not take it.
    """
    folder = AttemptFolder(order.folder)
    num_frames = _num_frames(clip, order.spec)
    finished = finish_clip(
        clip,
        folder.path,
        num_frames=num_frames,
        label=build_label(order.label.producer, order.label.produce_id),
        on_step=on_step,
    )
    log.debug("stills_written", jobs=[order.job_id])
    checks = clip.check(finished.video.path, num_frames, clip.fps) if clip.check else {}
    folder.write_manifest(
        CompleteRequest(
            attempt=order.attempt,
            rendered=_measured(
                finished.video, checks, render_s=time.monotonic() - order.claimed_at
            ),
            artifacts=[folder.measure(role, kind) for role, kind in CONTENT_TYPES.items()],
        )
    )
    log.debug("clip_written", jobs=[order.job_id])


def _num_frames(clip: Clip, spec: VideoSpec) -> int:
    """How many frames the clip is to have; the spec's are the most."""
    if clip.num_frames is None:
        return spec.num_frames
    if clip.num_frames > spec.num_frames:
        raise EncodeError(f"the clip has {clip.num_frames} frames, more than {spec.num_frames}")
    return clip.num_frames


def _measured(video: Encoded, checks: dict[str, float], *, render_s: float) -> Rendered:
    facts = video.facts
    return Rendered(
        width=facts.width,
        height=facts.height,
        num_frames=facts.num_frames,
        fps=float(facts.fps),
        duration_s=facts.duration_s,
        label=video.label,
        render_s=render_s,
        audio_s=facts.audio.duration_s if facts.audio else None,
        checks=checks,
    )
