"""The spool: one folder per job attempt, where a finished render waits to be reported.

Files appear whole or not at all; `manifest.json`, the message that will complete the attempt, comes
last. A folder whose files are what its manifest says is a finished attempt, any other is not. A
kill at any moment loses nothing that was finished, nor does a power cut after the flush, a moment
later. Beside them a job may have a workspace, which its attempts on this machine share.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import ValidationError

from gateway.protocol import ArtifactRole, AttemptRef, CompleteRequest, UploadedArtifact
from workers.media.atomic import flush_folder, whole_file

MANIFEST = "manifest.json"
PROBE_BYTES = 1 << 20
WORKSPACES = "workspaces"
WORKSPACE_KEPT_S = 24 * 3600
"""An unfinished job that has not been worked on here for so long goes on elsewhere, if at all."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
EXTENSIONS = {"video/mp4": "mp4", "image/webp": "webp", "image/jpeg": "jpg"}
log = structlog.stdlib.get_logger(__name__)
_FOLDER = re.compile(r"(?P<job_id>[A-Za-z0-9_-]+)-(?P<attempt>\d+)")


def is_disk_full(error: BaseException) -> bool:
    """Whether `error` says that there is no room for a file."""
    return isinstance(error, OSError) and error.errno in DISK_FULL


class SpoolInUse(Exception):  # says what happened
    """Another worker owns this spool folder."""


@dataclass(frozen=True)
class AttemptFolder:
    """The files of one attempt."""

    path: Path

    @property
    def ref(self) -> AttemptRef:
        """Whose files these are.

        Raises:
            ValueError: no attempt's folder is called so.
        """
        match = _FOLDER.fullmatch(self.path.name)
        if match is None:
            raise ValueError("not the folder of an attempt")
        return AttemptRef(job_id=match["job_id"], attempt=int(match["attempt"]))

    def artifact_path(self, role: ArtifactRole, content_type: str) -> Path:
        """Where an artifact of this attempt lies."""
        return self.path / f"{role}.{EXTENSIONS[content_type]}"

    def measure(self, role: ArtifactRole, content_type: str) -> UploadedArtifact:
        """The facts of a finished artifact, read from its file."""
        with self.artifact_path(role, content_type).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size_bytes = file.tell()
        return UploadedArtifact(
            role=role, content_type=content_type, size_bytes=size_bytes, sha256=digest
        )

    def write_manifest(self, manifest: CompleteRequest) -> None:
        """Declare the attempt finished; when this returns it survives a kill."""
        with whole_file(self.path / MANIFEST) as part:
            part.write_text(manifest.model_dump_json(), encoding="utf-8")

    def find_manifest(self) -> CompleteRequest | None:
        """The manifest, or None when the attempt is not finished."""
        try:
            return CompleteRequest.model_validate_json((self.path / MANIFEST).read_bytes())
        except (OSError, ValidationError):
            return None

    def is_finished(self) -> bool:
        """Whether there is a manifest, and every file is the one it names: reads them all."""
        manifest = self.find_manifest()
        if manifest is None:
            return False
        try:
            found = [self.measure(file.role, file.content_type) for file in manifest.artifacts]
        except OSError:
            return False
        return found == manifest.artifacts

    def flush(self) -> None:
        """Have it survive a power cut; one that was reported may be gone already."""
        try:
            flush_folder(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("spool_not_flushed", folder=self.path.name, reason=str(error.errno))

    def create(self) -> None:
        """Make the folder, new and empty."""
        self.delete()
        self.path.mkdir()

    def delete(self) -> None:
        """Remove the folder; it may be gone already."""
        shutil.rmtree(self.path, ignore_errors=True)


class Spool:
    """The attempt folders of one worker under `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Keep every other worker out of this spool while inside.

        Raises:
            SpoolInUse: another worker is in.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SpoolInUse(
                    f"{self._root} belongs to a running worker; "
                    "give every worker its own REELGATE_SPOOL_DIR"
                ) from None
            yield

    def folder_of(self, ref: AttemptRef) -> AttemptFolder:
        """The folder of an attempt, which may not exist yet.

        Raises:
            ValueError: the job id cannot be a folder's name.
        """
        name = f"{ref.job_id}-{ref.attempt}"
        if _FOLDER.fullmatch(name) is None:
            raise ValueError("a job id may only hold letters, digits, _ and -")
        return AttemptFolder(self._root / name)

    def workspace_of(self, job_id: str) -> Path:
        """What a job keeps from one attempt to the next on this machine; may not exist yet."""
        return self._root / WORKSPACES / job_id

    def drop_workspace(self, job_id: str) -> None:
        """Nobody will go on with this job."""
        shutil.rmtree(self.workspace_of(job_id), ignore_errors=True)

    def drop_stale_workspaces(self) -> None:
        """Forget jobs that nobody came back to."""
        for folder in (self._root / WORKSPACES).glob("*"):
            if time.time() - folder.stat().st_mtime > WORKSPACE_KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)

    def recover(self) -> list[AttemptFolder]:
        """The finished attempts that a former run left, oldest first; the others are deleted."""
        paths = [path for path in self._root.iterdir() if _FOLDER.fullmatch(path.name)]
        found = [AttemptFolder(path) for path in paths]
        finished = [folder for folder in found if folder.is_finished()]
        for folder in found:
            if folder not in finished:
                folder.delete()
        return sorted(finished, key=lambda folder: (folder.path / MANIFEST).stat().st_mtime)

    def has_room(self) -> bool:
        """Whether a megabyte can be written here and flushed; only writing tells."""
        probe = self._root / "probe"
        try:
            try:
                with probe.open("wb") as file:
                    file.write(bytes(PROBE_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                probe.unlink(missing_ok=True)
        except OSError:
            return False
        return True
