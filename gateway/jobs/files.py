"""Where the files of a job lie in the store. One folder a job, one below it an attempt."""

from typing import IO

from gateway.domain.errors import Unavailable
from gateway.protocol import KEYFRAMES, REFERENCES, ArtifactRole, InputRole
from gateway.storage.base import ObjectStore

ROOT = "jobs"
INPUT_NAMES = {
    InputRole.IMAGE: "image.png",
    InputRole.LAST_IMAGE: "last_image.png",
    **{role: f"{role}.png" for role in (*REFERENCES, *KEYFRAMES)},
    InputRole.AUDIO: "audio",
}
ARTIFACT_NAMES = {
    ArtifactRole.VIDEO: "video.mp4",
    ArtifactRole.THUMBNAIL: "thumbnail.webp",
    ArtifactRole.SPRITESHEET: "spritesheet.jpg",
}


def job_folder(job_id: str) -> str:
    """Everything of a job."""
    return f"{ROOT}/{job_id}"


def input_key(job_id: str, role: InputRole) -> str:
    """A file given with the request."""
    return f"{job_folder(job_id)}/inputs/{INPUT_NAMES[role]}"


def attempt_folder(job_id: str, attempt: int) -> str:
    """Everything one attempt made."""
    return f"{job_folder(job_id)}/{attempt}"


def artifact_key(job_id: str, attempt: int, role: ArtifactRole) -> str:
    """A file one attempt made."""
    return f"{attempt_folder(job_id, attempt)}/{ARTIFACT_NAMES[role]}"


def store_file(store: ObjectStore, key: str, file: IO[bytes], content_type: str) -> None:
    """Put one file into the store.

    Raises:
        Unavailable: the store did not take it.
    """
    try:
        store.put(key, file, content_type)
    except OSError as error:
        raise Unavailable(f"the store did not take the file: {error.strerror}") from error
