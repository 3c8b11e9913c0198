"""The examples of docs/api.md, run in order against the API."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251 - runs curl
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import LogLevel
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from gateway.api.bodies import (
    AgentKeyBody,
    AgentNameBody,
    BanBody,
    CreateBody,
    NetworkBody,
    RemoveBody,
    UpdateBody,
)
from gateway.api.log_rows import LogLevelBody
from gateway.api.openapi import document
from gateway.api.reading import SPELLINGS
from gateway.api.site import make_site
from gateway.ops.health import CheckResult, HealthChecks, HealthStatus
from gateway.ops.recent import RecentLines
from gateway.policy.mapping import Mapping, Target
from gateway.server.agents import AgentView
from tests.api.calls import ApiTestCase
from tests.api.fakes import NOON, FakeMappings, build_api, busy_edge

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
EXAMPLE = re.compile(
    r"```http run\n(?P<request>.*?)```\s+```json (?P<code>\d+)\n(?P<answer>.*?)```",
    re.DOTALL,
)
SCRIPT = re.compile(r"```sh\n(.*?)```", re.DOTALL)
AGENT = AgentView(
    name="default",
    instance="9f3b6c1d2e4f5a60",
    negotiated=True,
    links=1,
    streams=3,
    rtt_seconds=0.021,
    connected_at=float(NOON),
    address="203.0.113.9:51034",
    software="gotunnel 0.1.0",
    links_total=1,
)

BUSY = Mapping(
    id=9,
    port=30009,
    targets=(Target(host="127.0.0.1", port=22, use_tunnel=True),),
    name="ssh",
    created_at=NOON,
    updated_at=NOON,
)

BODIES = (
    CreateBody,
    RemoveBody,
    UpdateBody,
    AgentKeyBody,
    AgentNameBody,
    BanBody,
    NetworkBody,
    LogLevelBody,
)
A_LINE = {
    "log_format": "connection opened: port 10022 198.51.100.7:50122: 5c1e-1",
    "log_level": LogLevel.info,
    "log_namespace": "gateway.server.routing",
    "log_time": float(NOON),
    "trace": "5c1e-1",
    "port": 10022,
    "visitor": "198.51.100.7:50122",
    "agent": "default",
    "open_seconds": 0.004,
}


def parse(request):
    """Return method, path, headers and body of an example's request."""
    head, _, body = request.partition("\n\n")
    first, *lines = head.strip().split("\n")
    method, path = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    named = {name.lower().replace("-", "_"): value for name, value in headers.items()}
    return method, path, named, body.strip() or None


class ExamplesTests(ApiTestCase):
    """Requests and answers."""

    def test_every_example_answers_as_the_page_says(self):
        self.mappings = FakeMappings(last_port=20000)
        self.links.agents.append(AGENT)
        health = HealthChecks(self.clock, lambda: NOON)
        health.register("store", lambda: CheckResult(HealthStatus.HEALTHY))
        self.mappings.busy = [busy_edge(self.clock, BUSY)]
        recent = RecentLines("gotunnel", "5c1e")
        recent.keep(A_LINE)
        self.start(health=health, recent=recent)
        examples = list(EXAMPLE.finditer(PAGE))
        self.assertEqual(len(examples), PAGE.count("```http run"))
        for example in examples:
            method, path, headers, body = parse(example["request"])
            answer = self.call(method, path, body, **headers)
            self.assertEqual(
                (answer.code, answer.json),
                (int(example["code"]), json.loads(example["answer"])),
                example["request"],
            )


class CompletenessTests(SynchronousTestCase):
    """What the page must not forget."""

    def test_every_route_has_a_section_and_an_example(self):
        for path, operations in document()["paths"].items():
            shown = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), path)
            for method in operations:
                route = f"{method.upper()} {shown}"
                self.assertIn(f"\n## {route}\n", PAGE)
                if path not in ("/api/openapi.json", "/api/events"):
                    example = re.sub(r"PORT|ID|NAME", "[^ ?]+", re.escape(route))
                    self.assertRegex(PAGE, rf"```http run\n{example}(\?\S+)?\n")

    def test_every_key_of_every_body_is_named(self):
        for model in BODIES:
            for key in (*model.model_fields, *SPELLINGS):
                self.assertIn(f"`{key}`", PAGE)

    def test_every_key_of_a_mapping_is_named(self):
        for key in document()["components"]["schemas"]["MappingRow"]["properties"]:
            self.assertIn(f"`{key}`", PAGE)

    def test_every_code_is_explained(self):
        codes = {
            code
            for operations in document()["paths"].values()
            for operation in operations.values()
            for code in operation["responses"]
        }
        for code in codes - {"200"}:
            self.assertIn(f"\n| {code} | ", PAGE)


class QuickStartTests(TestCase):
    """The shell commands, by real curl over a real socket."""

    timeout = 20

    async def test_the_quick_start_runs(self):
        if shutil.which("curl") is None:
            raise SkipTest("curl is not installed")
        reactor: Any = global_reactor
        mappings = FakeMappings()
        api = build_api(reactor, mappings=mappings)
        site = make_site(api, reactor)
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(api.close)
        self.addCleanup(port.stopListening)
        self.addCleanup(site.abort_connections)
        found = SCRIPT.search(PAGE)
        assert found is not None
        script = found[1].replace("localhost:8080", f"localhost:{port.getHost().port}")
        output, errors, status = await getProcessOutputAndValue(
            "/bin/bash", ["-ec", script], env={"PATH": os.environ["PATH"]}
        )
        self.assertEqual((status, errors), (0, b""))
        self.assertEqual(output.count(b'"success":true'), 4)
        self.assertIn(b'"status":"ok"', output)
        self.assertEqual([view.mapping.port for view in mappings.views()], [10022])
