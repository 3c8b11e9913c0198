"""Ask an HTTP server for a page again and again, beside a load."""

from __future__ import annotations

import http.client
import os
import ssl
import time
from threading import Event, Thread
from typing import Final, NamedTuple
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 10.0
KEY_VARIABLE: Final = "GOTUNNEL_API_KEY"
_OK: Final = 200
_PORTS: Final = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}


class Scrapes(NamedTuple):
    """What was answered.

    Attributes:
        answers: how many.
        seconds: how long it was asked.
        slowest: seconds of the slowest answer.
        fault: what ended it early; empty if nothing did.
    """

    answers: int
    seconds: float
    slowest: float
    fault: str

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds if self.seconds else 0.0


def address_fault(url: str) -> str | None:
    """Return what is wrong with an address, or None."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    return (
        None if fits else f"{url!r} is no address such as http://127.0.0.1:8080/metrics"
    )


class Scraper:
    """Asks as fast as the server answers, on one connection, in a thread of its own.

    A key for the API is taken from the environment.
    """

    def __init__(self, url: str) -> None:
        """Ask nothing yet.

        Args:
            url: one that `address_fault` finds nothing wrong with.
        """
        self._parts = urlsplit(url)
        self._ended = Event()
        self._thread = Thread(target=self._ask_on, daemon=True)
        self._found = Scrapes(0, 0.0, 0.0, "")

    def start(self) -> None:
        """Ask from now on."""
        self._thread.start()

    def stop(self) -> Scrapes:
        """Ask no more, and return what was answered."""
        self._ended.set()
        self._thread.join()
        return self._found

    def _ask_on(self) -> None:
        started = time.perf_counter()
        answers, slowest, fault = 0, 0.0, ""
        connect = _PORTS[self._parts.scheme]
        connection = connect(
            self._parts.hostname or "", self._parts.port, timeout=TIMEOUT_SECONDS
        )
        try:
            while not self._ended.is_set():
                asked = time.perf_counter()
                self._ask(connection)
                answers += 1
                slowest = max(slowest, time.perf_counter() - asked)
        except (OSError, http.client.HTTPException, ssl.SSLError) as error:
            fault = f"{self._parts.geturl()}: {str(error) or type(error).__name__}"
        finally:
            connection.close()
        seconds = time.perf_counter() - started
        self._found = Scrapes(answers, seconds, slowest, fault)

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        key = os.environ.get(KEY_VARIABLE)
        path = self._parts.path or "/"
        if self._parts.query:
            path += f"?{self._parts.query}"
        connection.request("GET", path, headers={"X-API-Key": key} if key else {})
        answer = connection.getresponse()
        answer.read()
        if answer.status != _OK:
            raise http.client.HTTPException(f"HTTP {answer.status} {answer.reason}")
