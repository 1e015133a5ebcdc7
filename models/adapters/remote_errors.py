"""What a server's refusal means, by its status and by what it blames.

SpecError       the input: 400, 413, 415, 422; 403 that names a parameter
EngineBusy      not now: 408, 409, 425, 429
JobUnknown      404 on a job: forgotten by a restart, or removed
EngineFailed    any other, such as 500
LoadFailed      away or not ours to use: 401, 402, 403, 404, 502 to 504; a model it has not
"""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import NoReturn

import httpx2

from models.card import SpecError
from models.pipeline import EngineFailed, LoadFailed, PipelineError

INPUT_FAULTS = frozenset({400, 413, 415, 422})
_BUSY = frozenset({408, 409, 425, 429})
_AWAY = frozenset({401, 402, 403, 404, 405, 502, 503, 504})


class EngineBusy(PipelineError):
    """The engine takes nothing more right now."""


class JobUnknown(PipelineError):
    """The engine has no such job."""


def raise_refusal(answer: httpx2.Response, *, of_job: bool) -> NoReturn:
    """Raise what `answer`, which is no success, means. `of_job`: a job was asked for by its id."""
    status, said = answer.status_code, _read_complaint(answer)
    if status == HTTPStatus.NOT_FOUND and (of_job or said.param == "video_id"):
        raise JobUnknown(said.message)
    if status in _BUSY and answer.headers.get("x-should-retry") != "false":
        raise EngineBusy(said.message)
    is_input = status in INPUT_FAULTS or (status == HTTPStatus.FORBIDDEN and said.param)
    if is_input and said.param != "model":
        param = said.param or "parameters"
        raise SpecError(param, said.message, limit=said.limit, value=said.value)
    if status in _AWAY or said.param == "model":
        raise_away(answer)
    raise EngineFailed(f"{answer.url.host}: status {status}: {said.message}")


def raise_away(answer: httpx2.Response) -> NoReturn:
    """Raise that the server is of no use now.

    Raises:
        LoadFailed: with its status and its words.
    """
    where, said = f"{answer.url.host}:{answer.url.port}", _read_complaint(answer)
    raise LoadFailed(f"{where} does not serve us: status {answer.status_code}: {said.message}")


@dataclass(frozen=True)
class _Complaint:
    """What an answer says is wrong, as far as it says."""

    message: str
    param: str | None = None
    limit: object = None
    value: object = None


def _read_complaint(answer: httpx2.Response) -> _Complaint:
    """The words of a refusal: `{"error": ...}` as OpenAI has it, or FastAPI's `detail`."""
    try:
        body = json.loads(answer.content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return _Complaint(answer.reason_phrase)
    error, detail = body.get("error"), body.get("detail")
    if isinstance(error, dict):
        param = error.get("param")
        return _Complaint(
            str(error.get("message")),
            str(param) if param else None,
            error.get("limit"),
            error.get("value"),
        )
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        found = detail[0]
        where = [*found.get("loc", [])]
        return _Complaint(
            str(found.get("msg")),
            str(where[-1]) if where else None,
            found.get("ctx"),
            found.get("input"),
        )
    return _Complaint(str(detail or error))
