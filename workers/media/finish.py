"""The last step of a render: one clip to the three files that a finished job has."""

from dataclasses import dataclass, replace
from pathlib import Path

from models.pipeline import Clip, StepCallback
from workers.media.encode import Encoded, encode_video
from workers.media.stills import Stills

VIDEO_NAME = "video.mp4"
THUMBNAIL_NAME = "thumbnail.webp"
SPRITESHEET_NAME = "spritesheet.jpg"


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
    video = encode_video(
        replace(clip, frames=stills.watch(clip.frames)),
        folder / VIDEO_NAME,
        num_frames=num_frames,
        label=label,
        on_step=on_step,
    )
    thumbnail, spritesheet = folder / THUMBNAIL_NAME, folder / SPRITESHEET_NAME
    stills.save_thumbnail(thumbnail, label)
    stills.save_spritesheet(spritesheet, label)
    return FinishedClip(video, thumbnail, spritesheet)
