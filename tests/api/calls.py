"""Call an API in memory: no port, no reactor."""

import json
from typing import Any, NamedTuple

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.api.fakes import FakeLinks, FakeMappings, build_api


class Answer(NamedTuple):
    """An answer; `json` is None if there is no body."""

    code: int
    json: Any
    headers: Any


class ApiTestCase(SynchronousTestCase):
    """A test with an API over fakes."""

    settings: Any = None

    def setUp(self):
        self.clock = Clock()
        self.links = FakeLinks()
        enabled = self.settings is None or self.settings.tunnel_enabled
        self.mappings = FakeMappings(tunnel_enabled=enabled)
        self.start()

    def start(self, **more):
        """Build the API, anew if there is one."""
        more.setdefault("settings", self.settings)
        self.api = build_api(
            self.clock, mappings=self.mappings, links=self.links, **more
        )
        self.addCleanup(self.api.close)
        self.client: Any = StubTreq(self.api.resource())

    def begin(self, method, path, body=None, *, host="localhost", **headers):
        """Send a request and return the Deferred of the bare response."""
        if body is not None:
            headers.setdefault("content_type", "application/json")
            if not isinstance(body, bytes | str):
                body = json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.request(
            method, f"http://{host}{path}", data=body, headers=named
        )

    def call(self, method, path, body=None, **headers):
        """Send a request and return its answer."""
        return self.answer(self.begin(method, path, body, **headers))

    def answer(self, response):
        """Return what a Deferred of a response holds by now."""
        self.clock.advance(0)
        self.client.flush()
        got = self.successResultOf(response)
        content = self.successResultOf(self.client.content(got))
        return Answer(got.code, json.loads(content) if content else None, got.headers)

    def get(self, path, **headers):
        return self.call("GET", path, **headers)

    def post(self, path, body, **headers):
        return self.call("POST", path, body, **headers)

    def assertRefused(self, answer, code, message):
        """The answer is the envelope of a refusal, without data."""
        self.assertEqual(
            (answer.code, answer.json), (code, {"success": False, "message": message})
        )

    def assertSays(self, answer, code, *parts):
        """The answer is a refusal whose message holds all the parts."""
        self.assertEqual(answer.code, code, answer.json)
        self.assertEqual(sorted(answer.json), ["message", "success"])
        for part in parts:
            self.assertIn(part, answer.json["message"])
