"""A real Valkey, a scripted gateway, and workers started as processes."""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from gateway.protocol import Assignment, InputFile, InputRole, LabelFields
from models.spec import Kind, VideoSpec
from tests.integration.workers.harness.gateway import TOKEN, ScriptedGateway
from tests.integration.workers.harness.polling import wait_until
from tests.integration.workers.harness.processes import POOL, Valkey, WorkerProcess, is_running

CARD = """
  - id: {id}
    title: Scripted
    adapter: scripted_renderer:ScriptedVideo
    checkpoint: none
    licence: Apache-2.0
    kinds: [text_to_video, image_to_video]
    sizes: [64x64]
    size_multiple: 2
    fps: [4]
    seconds: [1]
    num_frames: {{min: 5, max: 5}}
    num_inference_steps: {{min: 1, max: 1000, default: 4}}
    guidance_scale: {{min: 1.0, max: 8.0, default: 1.0}}
    max_prompt_chars: 100
    deadline_s: 60
    options:
      diary: {folder}/diary
      broken_while: {folder}/broken-{id}
      crash_while: {folder}/crash-{id}
"""

StartWorker = Callable[..., WorkerProcess]
MakeJob = Callable[..., Assignment]


@pytest.fixture
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("kv"))
    try:
        server.start()
        yield server
    finally:
        server.client.close()
        server.kill()


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    server = ScriptedGateway()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start_worker(tmp_path: Path, valkey: Valkey, gateway: ScriptedGateway) -> Iterator[StartWorker]:
    """Starts workers that share one spool; at the end nothing they spawned may be left.

    `card` adds fields to all model cards, in JSON, which is YAML too.
    """
    workers: list[WorkerProcess] = []

    def start(
        *,
        is_ready: bool = True,
        card: dict[str, object] | None = None,
        path: Path | None = None,
        **settings: object,
    ) -> WorkerProcess:
        if not (tmp_path / "models.yaml").exists():
            write_cards(tmp_path, card or {})
        env = {
            "GATEWAY_URL": gateway.url,
            "WORKER_TOKEN": TOKEN,
            "REDIS_URL": valkey.url,
            "POOL": POOL,
            "CONFIG_DIR": tmp_path,
            "SPOOL_DIR": tmp_path / "spool",
            **{name.upper(): value for name, value in settings.items()},
        }
        log_path = tmp_path / f"worker-{len(workers)}.log"
        worker = WorkerProcess({f"REELGATE_{k}": str(v) for k, v in env.items()}, log_path, path)
        workers.append(worker)
        if is_ready:
            worker.wait_ready()
        return worker

    yield start
    for worker in workers:
        children = worker.child_pids() if worker.is_running() else []
        worker.kill()
        wait_until(partial(_are_gone, children))


@pytest.fixture
def make_job(gateway: ScriptedGateway) -> MakeJob:
    """Makes an assignment and has the gateway hand it out at the next claim."""
    numbers = itertools.count(1)

    def make(
        prompt: str = "plain",
        *,
        model: str = "scripted",
        steps: int = 4,
        seed: int = 1,
        image: bytes | None = None,
        **fields: object,
    ) -> Assignment:
        number = next(numbers)
        inputs = []
        if image is not None:
            url = f"/files/{number}?signature=x"
            gateway.files[url] = image
            digest = hashlib.sha256(image).hexdigest()
            inputs = [
                InputFile(role=InputRole.IMAGE, url=url, sha256=digest, size_bytes=len(image))
            ]
        spec = VideoSpec(
            kind=Kind.TEXT_TO_VIDEO,
            model=model,
            prompt=prompt,
            width=64,
            height=64,
            num_frames=5,
            fps=4,
            num_inference_steps=steps,
            guidance_scale=1.0,
            seed=seed,
        )
        job = Assignment(
            job_id=f"job_{number}",
            attempt=1,
            spec=spec,
            inputs=inputs,
            label=LabelFields(producer="reelgate-test", produce_id=f"job_{number}"),
            deadline_s=60,
            lease_s=60,
            heartbeat_s=0.2,
        ).model_copy(update=fields)
        gateway.waiting.append(job)
        return job

    return make


def write_cards(folder: Path, more: dict[str, object]) -> None:
    """The models that workers of a test serve: `scripted`, their default, and `other`."""
    extra = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in more.items())
    cards = "".join(CARD.format(id=name, folder=folder) + extra for name in ("scripted", "other"))
    (folder / "models.yaml").write_text(f"models:{cards}")


def _are_gone(pids: Sequence[int]) -> bool:
    return not any(is_running(pid) for pid in pids)
