"""Servers that speak `/v1/videos` and render nothing, each with the answers of the one it plays.

Paths, fields, statuses and error bodies are those of the sources named in each class, read in
those versions; the code is ours. Both are asked over real sockets.
"""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile
from typing_extensions import override

MODEL = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
Fields = dict[str, Any]


@dataclass
class Engine:
    """What a test sets and reads.

    Attributes:
        looks: how many answers say that the job is not there yet.
        failure: code and message that every job fails with.
        refusal: HTTP status and body that every submit gets.
        is_ready: whether `/health` is content.
        is_down: every answer is a proxy's 502.
        num_frames: frames of the finished file, where not those asked for.
        sound: whether it has a tone.
        submits: fields, files and headers of every submit.
        removed: ids of the jobs that were deleted.
    """

    looks: int = 2
    failure: tuple[int | None, str] | None = None
    refusal: tuple[int, Fields] | None = None
    is_ready: bool = True
    is_down: bool = False
    num_frames: int | None = None
    sound: bool = False
    task: str = "T2V"
    submits: list[tuple[Fields, dict[str, bytes], dict[str, str]]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    jobs: dict[str, Fields] = field(default_factory=dict)
    asked: dict[str, Fields] = field(default_factory=dict)

    def app(self) -> FastAPI:
        """The application to serve."""
        app = FastAPI()
        routes: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/health", self.health),
            ("GET", "/v1/models", self.models),
            ("POST", "/v1/videos", self.create),
            ("GET", "/v1/videos/{video_id}", self.retrieve),
            ("DELETE", "/v1/videos/{video_id}", self.remove),
            ("GET", "/v1/videos/{video_id}/content", self.content),
        ]
        for method, path, answer in routes:
            app.add_api_route(path, self._unless_down(answer), methods=[method])
        return app

    def _unless_down(self, answer: Callable[..., Any]) -> Callable[[Request], Any]:
        async def route(request: Request) -> Response:
            if self.is_down:
                return Response("<html>bad gateway</html>", 502)
            given = await answer(request)
            return given if isinstance(given, Response) else JSONResponse(given)

        return route

    async def health(self, _request: Request) -> Response | Fields:
        """Ready or not."""
        raise NotImplementedError

    async def models(self, _request: Request) -> Response | Fields:
        """The one model."""
        raise NotImplementedError

    def queued(self, video_id: str, fields: Fields) -> Fields:
        """A new job as this server shows it."""
        raise NotImplementedError

    def failed(self, job: Fields) -> Response | Fields:
        """A job that has failed as this server shows it."""
        raise NotImplementedError

    def complain(self, status: int, message: str) -> Response:
        """A refusal in the words of this server."""
        raise NotImplementedError

    async def read(self, request: Request) -> tuple[Fields, dict[str, bytes]]:
        """Fields and files of a submit."""
        fields: Fields = {}
        files: dict[str, bytes] = {}
        async with request.form() as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    files[name] = await value.read()
                else:
                    fields[name] = value
        return fields, files

    def find_fault(self, fields: Fields) -> str | None:
        """What this server has against a submit."""
        return None if fields.get("prompt") else "prompt is required"

    async def create(self, request: Request) -> Response | Fields:
        """Take a job."""
        fields, files = await self.read(request)
        self.submits.append((fields, files, dict(request.headers)))
        if self.refusal is not None:
            return JSONResponse(self.refusal[1], self.refusal[0])
        if (fault := self.find_fault(fields)) is not None:
            return self.complain(400, fault)
        video_id = f"video_{len(self.submits)}"
        self.jobs[video_id] = self.queued(video_id, fields)
        self.asked[video_id] = fields
        return self.jobs[video_id]

    async def retrieve(self, request: Request) -> Response | Fields:
        """Show a job; every look brings it on."""
        job = self.jobs.get(request.path_params["video_id"])
        if job is None:
            return self.complain(404, "Video not found")
        seen = job.setdefault("seen", 0)
        job["seen"] = seen + 1
        shown = {name: value for name, value in job.items() if name != "seen"}
        if seen < self.looks:
            return {**shown, "status": "in_progress", "progress": 100 * seen // self.looks}
        if self.failure is not None:
            return self.failed(shown)
        job["is_done"] = True
        return {**shown, "status": "completed", "progress": 100, "completed_at": int(time.time())}

    async def content(self, request: Request) -> Response:
        """The file, once there is one."""
        job = self.jobs.get(request.path_params["video_id"])
        if job is None:
            return self.complain(404, "Video not found")
        if not job.get("is_done"):
            return self.complain(404, "Generation is still in-progress")
        return Response(self.render(self.asked[job["id"]]), media_type="video/mp4")

    async def remove(self, request: Request) -> Response | Fields:
        """Forget a job."""
        video_id = request.path_params["video_id"]
        if self.jobs.pop(video_id, None) is None:
            return self.complain(404, "Video not found")
        self.removed.append(video_id)
        return {"id": video_id, "deleted": True, "object": "video.deleted"}

    def render(self, fields: Fields) -> bytes:
        """A file as asked for: frame n is grey level 10 n."""
        width, height = (int(side) for side in str(fields["size"]).split("x"))
        num_frames = self.num_frames or int(fields["num_frames"])
        return make_video(width, height, num_frames, int(fields["fps"]), with_sound=self.sound)


class SGLangDiffusion(Engine):
    """SGLang-Diffusion 0.5.23.

    `python/sglang/multimodal_gen/runtime/entrypoints/`: `http_server.py` (health),
    `openai/common_api.py` (models), `openai/video_api.py` and `openai/protocol.py` (videos).
    A failed job answers 200; its error has a message alone. DELETE answers with the job, status
    `deleted`. FastAPI's own error bodies: `{"detail": ...}`.
    """

    @override
    async def health(self, _request: Request) -> Response | Fields:
        """503 without a body until it is warm."""
        return {"status": "ok"} if self.is_ready else Response(status_code=503)

    @override
    async def models(self, _request: Request) -> Response | Fields:
        """OpenAI's list with fields of its own."""
        model = {
            "id": MODEL,
            "object": "model",
            "created": 1763700000,
            "owned_by": "sglang",
            "root": MODEL,
            "max_model_len": None,
            "num_gpus": 1,
            "task_type": self.task,
            "supported_task_types": [self.task],
            "dit_precision": "bf16",
            "vae_precision": "fp16",
            "pipeline_name": "wan_pipeline",
            "pipeline_class": "WanPipeline",
        }
        return {"object": "list", "data": [model]}

    @override
    async def read(self, request: Request) -> tuple[Fields, dict[str, bytes]]:
        """A form, or JSON."""
        if request.headers["content-type"].startswith("application/json"):
            return await request.json(), {}
        return await super().read(request)

    @override
    def queued(self, video_id: str, fields: Fields) -> Fields:
        """Every field of its answer, most of them null."""
        return {
            "id": video_id,
            "object": "video",
            "model": fields.get("model") or MODEL,
            "status": "queued",
            "progress": 0,
            "created_at": int(time.time()),
            "size": fields.get("size", ""),
            "seconds": "1",
            "quality": "standard",
            "url": None,
            "urls": None,
            "remixed_from_video_id": None,
            "completed_at": None,
            "expires_at": None,
            "error": None,
            "file_path": f"/outputs/{video_id}.mp4",
        }

    @override
    def failed(self, job: Fields) -> Response | Fields:
        """The text of the exception."""
        assert self.failure is not None
        return {**job, "status": "failed", "error": {"message": self.failure[1]}}

    @override
    def complain(self, status: int, message: str) -> Response:
        """As FastAPI does."""
        return JSONResponse({"detail": message}, status)

    @override
    async def remove(self, request: Request) -> Response | Fields:
        """The job itself comes back."""
        job = dict(self.jobs.get(request.path_params["video_id"], {}))
        answer = await super().remove(request)
        return answer if isinstance(answer, Response) else {**job, "status": "deleted"}


class VllmOmni(Engine):
    """vLLM-Omni 0.30.0.

    `vllm_omni/entrypoints/openai/`: `api_server.py` (health, models, videos), `protocol/videos.py`,
    `video/generation/helpers.py` (form, failures), `models/serving.py` (models). Takes forms
    alone, and one model by its exact name. The answer to a look at a failed job has the status of
    the failure. Error bodies are vLLM's: `{"error": {message, type, param, code}}`.
    """

    @override
    async def health(self, _request: Request) -> Response | Fields:
        """503 once its engine is dead."""
        if self.is_ready:
            return {"status": "healthy"}
        return JSONResponse({"status": "unhealthy"}, 503)

    @override
    async def models(self, _request: Request) -> Response | Fields:
        """As vLLM lists them."""
        model = {"id": MODEL, "object": "model", "created": 1763700000, "owned_by": "vllm"}
        return {"object": "list", "data": [{**model, "root": MODEL, "parent": None}]}

    @override
    def find_fault(self, fields: Fields) -> str | None:
        """Also another model than its own."""
        model = fields.get("model", MODEL)
        if model != MODEL:
            return f"Model mismatch: {model} but server is running {MODEL}."
        return super().find_fault(fields)

    @override
    def queued(self, video_id: str, fields: Fields) -> Fields:
        """Every field of its answer."""
        return {
            "model": MODEL,
            "prompt": fields["prompt"],
            "id": video_id,
            "object": "video",
            "status": "queued",
            "size": fields.get("size"),
            "progress": 0,
            "seconds": "4",
            "quality": "default",
            "completed_at": None,
            "created_at": int(time.time()),
            "remixed_from_video_id": None,
            "error": None,
            "media_type": "video/mp4",
            "expires_at": None,
            "file_name": None,
            "inference_time_s": None,
            "fps": float(fields["fps"]),
            "num_frames": int(fields["num_frames"]),
            "stage_durations": {},
            "peak_memory_mb": 0.0,
        }

    @override
    def failed(self, job: Fields) -> Response | Fields:
        """The job as body, the failure as status."""
        assert self.failure is not None
        code, message = self.failure
        status = code or 500
        error = {"code": status, "message": message}
        return JSONResponse({**job, "status": "failed", "error": error}, status)

    @override
    def complain(self, status: int, message: str) -> Response:
        """As vLLM does."""
        error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
        return JSONResponse({"error": error}, status)


def make_video(
    width: int, height: int, num_frames: int, fps: int, *, with_sound: bool = False
) -> bytes:
    """An MP4 as these servers write it, without colour tags; frame n is grey level 10 n."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps, options={"crf": "1"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=48_000, layout="stereo") if with_sound else None
        for index in range(num_frames):
            grey = np.full((height, width, 3), 10 * index, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(video.encode())
        if sound is not None:
            rate = 48_000
            tone = np.sin(np.arange(rate * num_frames // fps) * 2 * np.pi * 440 / rate) / 2
            samples = np.stack([tone, tone]).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return file.getvalue()
