"""What must hold outside the database: files, Redis, spools, and the videos themselves."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import httpx2
from redis import Redis
from sqlalchemy import Connection, select

from gateway.db.tables import artifact, job
from gateway.domain.jobs import JobState
from gateway.housekeeping import clean
from gateway.protocol import ArtifactRole, queue_name
from gateway.services import build_services, close_services
from gateway.settings import Settings
from tests.chaos.diary import Breach
from tests.chaos.faults import HOSTS
from tests.chaos.system import System
from tests.support.clock import ManualClock
from workers.media.label import LabelMissing, build_label, check_label
from workers.media.probe import UnreadableMedia

NUM_FRAMES = 17
_QUEUE = f"rq:queue:{queue_name('default')}"
# Keys that stay, each with the reason why it cannot pile up.
LASTING_KEYS = {
    "rq:queues": "the set of queue names: one entry a pool",
    _QUEUE: "the list of deliveries: workers empty it",
    "rq:workers": "the set of live workers: each maintenance drops the dead",
    f"rq:workers:{queue_name('default')}": "as rq:workers, of one pool",
    f"{_QUEUE}:intermediate": "deliveries of killed workers: given an end by each maintenance",
}
# A folder without a job may belong to a submit under way until it is an hour old.
_LATER = timedelta(hours=2)


def check_redis(redis_url: str) -> Iterator[Breach]:
    """Every key expires or is one of the few that stay."""
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        for key in redis.scan_iter():
            if redis.ttl(key) == -1 and key not in LASTING_KEYS:
                yield Breach("a Redis key stays for ever", str(key))


def check_spools(system: System) -> Iterator[Breach]:
    """No attempt waits in a spool."""
    for host in HOSTS:
        for path in system.spool_dir(host).iterdir():
            if path.is_dir():
                yield Breach("a spool is not empty", f"{host}: {path.name}")


def check_videos(
    connection: Connection, base_url: str, keys: dict[str, str], folder: Path
) -> Iterator[Breach]:
    """Every video that succeeded downloads as it was uploaded, plays, and bears its label.

    `keys` are API keys by account id; `folder` takes one downloaded file at a time.
    """
    query = (
        select(job.c.id, job.c.account_id, artifact.c.sha256)
        .join(artifact, artifact.c.job_id == job.c.id, isouter=True)
        .where(
            job.c.state == JobState.SUCCEEDED,
            job.c.deleted_at.is_(None),
            artifact.c.role == ArtifactRole.VIDEO,
        )
    )
    path = folder / "downloaded.mp4"
    with httpx2.Client(base_url=base_url, timeout=30) as http:
        for row in connection.execute(query):
            headers = {"Authorization": f"Bearer {keys[row.account_id]}"}
            answer = http.get(f"/v1/videos/{row.id}/content", headers=headers)
            path.write_bytes(answer.content)
            problem = _problem_of(answer, row.sha256) or _unlike_a_video(path, row.id)
            if problem:
                yield Breach("a video is not what it should be", f"{row.id}: {problem}")


def check_store(system: System) -> tuple[int, list[Breach]]:
    """Let housekeeping tidy up, two hours later; how many files it had to drop, and what is wrong.

    Call it when the gateway has stopped.
    """
    before = len(_files_of(system.store_dir))
    settings = _settings_of(system)
    services = build_services(settings, ManualClock(datetime.now(UTC) + _LATER))
    try:
        clean(services)
        with services.database.read() as connection:
            rows = connection.execute(select(artifact.c.key, artifact.c.sha256))
            named = {row.key: row.sha256 for row in rows}
    finally:
        close_services(services)
    left = _files_of(system.store_dir)
    breaches = [Breach("a file belongs to no job", key) for key in sorted(left.keys() - named)]
    for key, sha256 in named.items():
        if key not in left:
            breaches.append(Breach("a file is gone", key))
        elif hashlib.sha256(left[key].read_bytes()).hexdigest() != sha256:
            breaches.append(Breach("a file was changed", key))
    return before - len(left), breaches


def _settings_of(system: System) -> Settings:
    environment = system.environment
    return Settings(
        database_url=system.database.url,
        redis_url=system.redis_url,
        storage_dir=system.store_dir,
        secret=environment["REELGATE_SECRET"],
        worker_token=environment["REELGATE_WORKER_TOKEN"],
        config_dir=Path(environment["REELGATE_CONFIG_DIR"]),
    )


def _files_of(root: Path) -> dict[str, Path]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path for path in files}


def _problem_of(answer: httpx2.Response, sha256: str) -> str | None:
    if not answer.is_success:
        return f"status {answer.status_code}"
    if hashlib.sha256(answer.content).hexdigest() != sha256:
        return "not the bytes that were uploaded"
    return None


def _unlike_a_video(path: Path, job_id: str) -> str | None:
    try:
        check_label(path, build_label("Reelgate", job_id))
        with av.open(str(path)) as container:
            num_frames = sum(1 for _ in container.decode(video=0))
    except (LabelMissing, UnreadableMedia, av.FFmpegError) as error:
        return str(error)
    return None if num_frames == NUM_FRAMES else f"{num_frames} frames"
