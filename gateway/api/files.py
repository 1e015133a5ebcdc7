"""Signed links to files in the local store: whoever has a fresh link may read that one file."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from gateway.api.deps import ServicesDep
from gateway.domain.errors import NotFound
from gateway.storage.local import FILES_ROUTE, LocalStore

router = APIRouter(tags=["files"])


@router.get(FILES_ROUTE + "/{key:path}")
def get_file(key: str, expires: int, signature: str, services: ServicesDep) -> FileResponse:
    """The file of a link that `LocalStore.sign_url` made and that has not expired."""
    if isinstance(services.store, LocalStore):
        path = services.store.find_signed(key, expires, signature)
        if path is not None:
            return FileResponse(path)
    raise NotFound("no such link, or it has expired")
