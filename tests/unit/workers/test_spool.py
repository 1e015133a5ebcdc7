"""What lies in the spool is a finished attempt or nothing."""

import errno
import os
import time
from pathlib import Path

import pytest

from gateway.protocol import ArtifactRole, AttemptRef, CompleteRequest, Rendered
from workers.spool import WORKSPACE_KEPT_S, AttemptFolder, Spool, SpoolInUse, is_disk_full


def a_folder(spool: Spool, job_id: str = "job-a_1", attempt: int = 2) -> AttemptFolder:
    folder = spool.folder_of(AttemptRef(job_id=job_id, attempt=attempt))
    folder.create()
    return folder


def a_manifest(folder: AttemptFolder) -> CompleteRequest:
    rendered = Rendered(
        width=64, height=64, num_frames=5, fps=4, duration_s=1.25, label={}, render_s=1
    )
    folder.artifact_path(ArtifactRole.VIDEO, "video/mp4").write_bytes(b"abc")
    artifacts = [folder.measure(ArtifactRole.VIDEO, "video/mp4")]
    return CompleteRequest(attempt=folder.ref.attempt, rendered=rendered, artifacts=artifacts)


def test_a_folder_knows_whose_it_is(tmp_path: Path) -> None:
    folder = a_folder(Spool(tmp_path))
    assert folder.ref == AttemptRef(job_id="job-a_1", attempt=2)


@pytest.mark.parametrize("job_id", ["../x", "a/b", "", "a b"])
def test_a_job_id_that_is_no_file_name_is_refused(tmp_path: Path, job_id: str) -> None:
    with pytest.raises(ValueError, match="job id"):
        Spool(tmp_path).folder_of(AttemptRef(job_id=job_id, attempt=1))


def test_artifacts_are_measured_from_the_file(tmp_path: Path) -> None:
    [artifact] = a_manifest(a_folder(Spool(tmp_path))).artifacts
    assert artifact.size_bytes == 3
    assert artifact.sha256.startswith("ba7816bf8f01cfea414140de5dae2223")


def test_only_finished_attempts_survive_a_restart(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    finished, unfinished, torn, cut, empty = (a_folder(spool, job_id) for job_id in "abcde")
    for folder in (finished, cut, empty):
        folder.write_manifest(a_manifest(folder))
    cut.artifact_path(ArtifactRole.VIDEO, "video/mp4").write_bytes(b"\0\0\0")
    empty.artifact_path(ArtifactRole.VIDEO, "video/mp4").unlink()
    (torn.path / "manifest.json").write_text('{"attempt": 2, "rende')
    (tmp_path / "holiday pictures").mkdir()

    assert spool.recover() == [finished]
    assert finished.find_manifest() == a_manifest(finished)
    assert not unfinished.path.exists()
    assert not any(folder.path.exists() for folder in (torn, cut, empty))
    assert (tmp_path / "holiday pictures").exists()


def test_a_folder_that_was_reported_meanwhile_needs_no_flush(tmp_path: Path) -> None:
    folder = a_folder(Spool(tmp_path))
    folder.write_manifest(a_manifest(folder))
    folder.flush()
    folder.delete()
    folder.flush()


def test_a_workspace_outlives_attempts_but_not_its_job(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for name in ("job_a", "job_b"):
        spool.workspace_of(name).mkdir(parents=True)
    assert spool.recover() == []
    spool.drop_stale_workspaces()
    assert spool.workspace_of("job_a").is_dir()
    spool.drop_workspace("job_a")
    assert not spool.workspace_of("job_a").exists()
    long_ago = time.time() - WORKSPACE_KEPT_S - 1
    os.utime(spool.workspace_of("job_b"), (long_ago, long_ago))
    spool.drop_stale_workspaces()
    assert not spool.workspace_of("job_b").exists()
    spool.drop_workspace("job_b")


def test_a_new_folder_is_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    (a_folder(spool).path / "rest").touch()
    assert not list(a_folder(spool).path.iterdir())


def test_a_spool_has_one_owner(tmp_path: Path) -> None:
    first, second = Spool(tmp_path / "spool"), Spool(tmp_path / "spool")
    with first.owned(), pytest.raises(SpoolInUse), second.owned():
        pass
    with Spool(tmp_path / "spool").owned():
        pass


def test_room_is_found_by_writing(tmp_path: Path) -> None:
    assert Spool(tmp_path).has_room()
    assert not Spool(tmp_path / "missing").has_room()
    assert not list(tmp_path.iterdir())


def test_a_spool_that_is_gone_has_no_room(tmp_path: Path) -> None:
    assert not Spool(tmp_path / "came off").has_room()


def test_a_full_disk_is_told_from_other_troubles() -> None:
    assert is_disk_full(OSError(errno.ENOSPC, "full"))
    assert is_disk_full(OSError(errno.EDQUOT, "quota"))
    assert not is_disk_full(OSError(errno.EACCES, "no"))
    assert not is_disk_full(ValueError())
