"""What routes ask for: the services, and who is calling."""

import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.accounts.service import Caller, Scope, authenticate
from gateway.domain.errors import AccountSuspended, AuthenticationFailed, PermissionDenied
from gateway.services import Services

_bearer = HTTPBearer(auto_error=False, description="An API key: rg_...")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def get_services(request: Request) -> Services:
    """The parts of this process."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]


def get_caller(credentials: _Credentials, services: ServicesDep) -> Caller:
    """Whose key the request carries.

    Raises:
        AuthenticationFailed: none that is of use.
    """
    key = credentials.credentials if credentials else None
    with services.database.read() as connection:
        return authenticate(connection, key, now=services.clock.now())


CallerDep = Annotated[Caller, Depends(get_caller)]


def get_admin(caller: CallerDep) -> Caller:
    """Whose key the request carries, if it opens everybody's things.

    Raises:
        PermissionDenied: it is an ordinary key.
        AccountSuspended: so that nobody who is suspended lifts that.
    """
    if caller.scope is not Scope.ADMIN:
        raise PermissionDenied("this needs a key of scope admin")
    if caller.is_suspended:
        raise AccountSuspended("this account is suspended")
    return caller


AdminDep = Annotated[Caller, Depends(get_admin)]


def require_worker(credentials: _Credentials, services: ServicesDep) -> None:
    """Let only workers through.

    Raises:
        AuthenticationFailed: not the worker token.
    """
    expected = services.settings.worker_token.get_secret_value().encode()
    given = credentials.credentials.encode() if credentials else b""
    if not hmac.compare_digest(expected, given):
        raise AuthenticationFailed("this needs the worker token")
