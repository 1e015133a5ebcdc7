"""The wire to a server that speaks `/v1/videos`: one method a request, answers read leniently.

SGLang-Diffusion, vLLM-Omni and Reelgate agree on paths and on four statuses. How they refuse is
in `remote_errors`.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Any
from weakref import finalize

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from models.adapters.remote_errors import raise_away, raise_refusal
from models.card import ModelCard
from models.pipeline import EngineFailed, LoadFailed
from models.spec import VideoSpec

LOOK_TIMEOUT_S = 5.0
"""Of small requests: less than the time that a renderer may stay deaf to a cancel."""

REMOVE_TIMEOUT_S = 2.0
MAX_VIDEO_BYTES = 1 << 28
READ_BYTES = 1 << 20


class JobError(BaseModel):
    """Why a job failed. `code`: Reelgate's word, vLLM-Omni's HTTP status; SGLang has none."""

    model_config = ConfigDict(extra="ignore")

    code: int | str | None = None
    message: str = ""


class RemoteVideo(BaseModel):
    """A job of the engine. `progress`: 0 to 100; `url`: where SGLang has put it, if not with it."""

    model_config = ConfigDict(extra="ignore")

    id: str
    status: str
    progress: float = 0
    url: str | None = None
    error: JobError | None = None


class EngineApi:
    """Speaks to the server that the options of `card` name.

    Raises:
        LoadFailed: an option is missing or wrong, or the environment lacks the key.
    """

    def __init__(self, card: ModelCard) -> None:
        base_url = str(card.options.get("base_url", "")).rstrip("/").removesuffix("/v1")
        if not base_url.startswith(("http://", "https://")):
            raise LoadFailed(f"model {card.id}: options need base_url, http:// or https://")
        self.url = base_url
        self.model = str(card.options.get("model", card.id))
        self._default_mode = card.default_mode
        self._as_json = card.options.get("body", "form") == "json"
        self._http = httpx2.Client(
            base_url=base_url,
            headers=_authorization(card),
            timeout=float(card.options.get("timeout_s", 60.0)),
        )
        # Nobody says when a renderer is no longer needed.
        finalize(self, self._http.close)

    def probe_health(self) -> None:
        """Make sure that it is ready for work; a server without `/health` is taken at its word.

        Raises:
            LoadFailed: it is away, or says that it is not ready.
        """
        answer = self._send("GET", "/health", timeout=LOOK_TIMEOUT_S)
        if not answer.is_success and answer.status_code != HTTPStatus.NOT_FOUND:
            raise LoadFailed(f"{self.url} is not ready: status {answer.status_code}")

    def get_model(self) -> Mapping[str, Any]:
        """What the server says of the model of the card.

        Raises:
            LoadFailed: it does not serve it, or does not say what it serves.
        """
        answer = self._send("GET", "/v1/models", timeout=LOOK_TIMEOUT_S)
        if not answer.is_success:
            raise_away(answer)
        try:
            served = {str(model["id"]): dict(model) for model in answer.json()["data"]}
        except (ValueError, KeyError, TypeError) as error:
            raise LoadFailed(f"{self.url} does not list its models as /v1/models does") from error
        if self.model not in served:
            names = ", ".join(sorted(served)) or "nothing"
            raise LoadFailed(f"{self.url} serves {names}, not {self.model}")
        return served[self.model]

    def submit(self, spec: VideoSpec, name: str) -> RemoteVideo:
        """Ask for the video of `spec`.

        Where the engine knows idempotency keys, asking again under the same `name` gives the same
        job, in whatever state it is by now.

        Raises:
            SpecError, EngineBusy, JobUnknown, EngineFailed, LoadFailed: see `remote_errors`.
        """
        fields = self._fields(spec)
        headers = {"Idempotency-Key": name}
        if spec.image is None and self._as_json:
            return self._read(self._send("POST", "/v1/videos", json=fields, headers=headers))
        files: dict[str, Any] = {key: (None, str(value)) for key, value in fields.items()}
        if spec.image is not None:
            files["input_reference"] = ("first-frame.png", spec.image.read_bytes(), "image/png")
        return self._read(self._send("POST", "/v1/videos", files=files, headers=headers))

    def look(self, video_id: str) -> RemoteVideo:
        """The job as it stands; a failed one too, whatever status its answer has.

        Raises:
            EngineBusy, JobUnknown, EngineFailed, LoadFailed: see `remote_errors`.
        """
        return self._read(
            self._send("GET", f"/v1/videos/{video_id}", timeout=LOOK_TIMEOUT_S), of_job=True
        )

    def fetch(self, video: RemoteVideo, on_piece: Callable[[], None]) -> bytes:
        """The finished file; `on_piece` is called while it comes and may raise.

        Raises:
            EngineFailed: there is none, or it is larger than `MAX_VIDEO_BYTES`.
            LoadFailed: the connection broke.
        """
        data = bytearray()
        try:
            with self._open_content(video) as answer:
                if not answer.is_success:
                    raise EngineFailed(f"no content of {video.id}: status {answer.status_code}")
                for piece in answer.iter_bytes(READ_BYTES):
                    data += piece
                    on_piece()
                    if len(data) > MAX_VIDEO_BYTES:
                        raise EngineFailed(f"{video.id} is larger than {MAX_VIDEO_BYTES} bytes")
        except httpx2.TransportError as error:
            raise LoadFailed(f"{self.url} broke off: {type(error).__name__}") from error
        return bytes(data)

    def _open_content(self, video: RemoteVideo) -> AbstractContextManager[httpx2.Response]:
        if video.url is None:
            path = f"/v1/videos/{video.id}/content"
            return self._http.stream("GET", path, follow_redirects=True)
        # A link into a store: our key is none of its business.
        return httpx2.stream("GET", video.url, timeout=self._http.timeout)

    def remove(self, video_id: str) -> None:
        """Cancel the job if it is open, and remove its files; in vain where the engine is away."""
        try:
            self._http.delete(f"/v1/videos/{video_id}", timeout=REMOVE_TIMEOUT_S)
        except httpx2.TransportError:
            return

    def _fields(self, spec: VideoSpec) -> dict[str, object]:
        fields: dict[str, object] = {
            "model": self.model,
            "prompt": spec.prompt,
            "size": spec.size,
            "num_frames": spec.num_frames,
            "fps": spec.fps,
            "num_inference_steps": spec.num_inference_steps,
            "guidance_scale": spec.guidance_scale,
            "seed": spec.seed,
        }
        if spec.negative_prompt:
            fields["negative_prompt"] = spec.negative_prompt
        # Engines other than Reelgate have no modes, and pass over the field.
        if spec.mode != self._default_mode:
            fields["mode"] = spec.mode
        return fields

    def _send(self, method: str, path: str, **how: Any) -> httpx2.Response:  # noqa: ANN401
        try:
            return self._http.request(method, path, **how)
        except httpx2.TransportError as error:
            problem = type(error).__name__
            raise LoadFailed(f"{self.url} does not answer: {problem}") from error

    def _read(self, answer: httpx2.Response, *, of_job: bool = False) -> RemoteVideo:
        try:
            # vLLM-Omni sends a failed job with the status of its failure.
            return RemoteVideo.model_validate_json(answer.content)
        except ValidationError as error:
            if not answer.is_success:
                raise_refusal(answer, of_job=of_job)
            raise EngineFailed(f"{self.url} answers with something else than a video") from error


def _authorization(card: ModelCard) -> dict[str, str]:
    variable = card.options.get("api_key_env")
    if variable is None:
        return {}
    key = os.environ.get(str(variable))
    if not key:
        raise LoadFailed(f"model {card.id}: the environment has no {variable}, its api_key_env")
    return {"Authorization": f"Bearer {key}"}
