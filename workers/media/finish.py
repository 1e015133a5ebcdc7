"""The last step of a render: one clip to the three files that a finished job has."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from models.pipeline import Clip, Frame, StepCallback
from workers.media.encode import Encoded, encode_video
from workers.media.stills import Stills

VIDEO_NAME = "video.mp4"
THUMBNAIL_NAME = "thumbnail.webp"
SPRITESHEET_NAME = "spritesheet.jpg"

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class FinishedClip:
    """The files of one video, each whole and labelled."""

    video: Encoded
    thumbnail: Path
    spritesheet: Path


def finish_clip(
    clip: Clip,
    folder: Path,
    *,
    num_frames: int,
    label: dict[str, str],
    on_step: StepCallback | None = None,
) -> FinishedClip:
    """Read `clip` once and write its video, thumbnail and spritesheet into `folder`.

    Raises:
        EncodeError, LabelMissing: as `workers.media.encode.encode_video`.
    """
    stills = Stills(num_frames)
    thumbnail, spritesheet = folder / THUMBNAIL_NAME, folder / SPRITESHEET_NAME
    frames = _past_middle(
        stills.watch(clip.frames), num_frames, lambda: stills.save_thumbnail(thumbnail, label)
    )
    video = encode_video(
        replace(clip, frames=frames),
        folder / VIDEO_NAME,
        num_frames=num_frames,
        label=label,
        on_step=on_step,
    )
    log.debug("video_written", jobs=[label["ProduceID"]])
    stills.save_spritesheet(spritesheet, label)
    return FinishedClip(video, thumbnail, spritesheet)


def _past_middle(
    frames: Iterable[Frame], num_frames: int, save: Callable[[], None]
) -> Iterator[Frame]:
    """`frames`; `save` is called after the middle one, while later ones are still being drawn."""
    for index, frame in enumerate(frames):
        yield frame
        if index == num_frames // 2:
            save()
