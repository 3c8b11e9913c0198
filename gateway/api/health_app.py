"""The port for probes: nothing but what tells how the gateway is, for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

from gateway.api.app import RouteGroup, resource_of
from gateway.api.faults import caller_error, refuse
from gateway.api.language import choose_language
from gateway.api.settings import ApiSettings
from gateway.policy.limits import Slots
from gateway.texts import Language

MOST_CONNECTIONS: Final = 100


class HealthApi:
    """Serves a few groups of routes without asking who calls."""

    def __init__(self, groups: Sequence[RouteGroup], settings: ApiSettings) -> None:
        self.settings: Final = settings
        self.connections: Final = Slots(MOST_CONNECTIONS)
        self._groups = groups

    def resource(self) -> IResource:
        """Return the root resource for a site."""
        return resource_of(self._groups, lambda request: None, self.refuse)

    def refuse(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a request that failed."""
        fault = caller_error(failure, request)
        return refuse(request, fault, self.language(request))

    def is_known(self, request: IRequest) -> bool:
        """Return False: nobody is asked who calls."""
        return False

    def language(self, request: IRequest) -> Language:
        """Return the language to answer a request in."""
        header = request.getHeader(b"accept-language")
        wanted = None if header is None else header.decode("latin-1")
        return choose_language(wanted, self.settings.language)
