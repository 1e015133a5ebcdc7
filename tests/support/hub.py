"""A model hub with one repository, on this machine.

It answers the requests that `huggingface_hub` 2.4 makes for a snapshot, in the shape documented at
https://huggingface.co/docs/hub/api: the repository's files, and each file with its commit and its
ETag. What the real hub does beyond that (Xet storage, redirects to a CDN, gated repositories but
for their 401) is not played.
"""

import hashlib
from dataclasses import dataclass, field

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """The repository `id` with `files` at one commit. `fetched`: what was asked for, in order."""

    id: str
    files: dict[str, bytes]
    is_gated: bool = False
    fetched: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        """The application to serve."""
        app = FastAPI(dependencies=[Depends(self._check)])
        app.add_api_route(f"/api/models/{self.id}/revision/{{revision}}", self._info)
        app.add_api_route(f"/api/models/{self.id}/tree/{{revision}}", self._tree)
        path = f"/{self.id}/resolve/{{revision}}/{{name:path}}"
        app.add_api_route(path, self._file, methods=["GET", "HEAD"])
        return app

    async def _check(self, request: Request) -> None:
        if self.is_gated:
            headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": f"{self.id} is gated"}
            raise HTTPException(401, "gated", headers)
        if request.path_params["revision"] != REVISION:
            raise HTTPException(404, "Invalid rev id", {"X-Error-Code": "RevisionNotFound"})

    async def _info(self, _request: Request) -> Response:
        siblings = [{"rfilename": name} for name in self.files]
        return JSONResponse(
            {"id": self.id, "modelId": self.id, "sha": REVISION, "siblings": siblings}
        )

    async def _tree(self, _request: Request) -> Response:
        return JSONResponse(
            [
                {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
                for name, data in self.files.items()
            ]
        )

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        data = self.files.get(name)
        if data is None:
            return JSONResponse({}, 404, {"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": REVISION}
        if request.method == "HEAD":
            return Response(headers={**headers, "Content-Length": str(len(data))})
        self.fetched.append(name)
        return Response(data, headers=headers)


def _etag(data: bytes) -> str:
    """Any name of the content will do; the real one is git's."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
