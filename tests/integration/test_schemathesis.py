"""The API does what its OpenAPI document says, as schemathesis judges it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from gateway.api.openapi import document
from tests.integration.processes import Program
from tests.integration.rig import RigCase, script
from tests.integration.traffic import Target

KEY: Final = "an-api-key-for-schemathesis"
EXAMPLES: Final = 5  # generated requests for each operation, beside the fixed ones
# texts with a grammar, such as networks, are more than the schema says of them, so
# that a 400 for them is no finding: positive_data_acceptance is left out
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)


class DocumentTests(RigCase):
    """Every operation of a gateway that is in use, with good and with bad requests."""

    timeout = 230

    async def start_judged(self) -> Program:
        """Start a gateway that wants a key and counts no requests."""
        api = {"api_key": KEY, "rate_limit": {"requests": 0}}
        gateway = await self.start_gateway(
            security={"api": api},
            direct={"allow_targets": ["127.0.0.1"]},
            metrics={"require_auth": True},  # as on any address but loopback
        )
        self.use_key(KEY)
        return gateway

    def write_document(self, found: dict[str, Any]) -> Path:
        """Write a document down; by its address it would leave itself out."""
        path = self.folder / "openapi.json"
        path.write_text(json.dumps(found))
        return path

    async def judge(self, place: Path, *options: str) -> Program:
        """Let schemathesis call the API by a document; return it when it has ended."""
        known = self.folder / "schemathesis.toml"
        known.write_text(f'[parameters]\n"path.port" = {self.first_port}\n')
        return await self.run_program(
            script("schemathesis"),
            f"--config-file={known}",
            "run",
            place,
            f"--url=http://127.0.0.1:{self.api_port}",
            "--phases=coverage,fuzzing",
            "--workers=1",  # with more, parsing by two threads fails in Python 3.11
            f"--max-examples={EXAMPLES}",
            f"--checks={','.join(CHECKS)}",
            f"--header=X-API-Key: {KEY}",
            "--generation-deterministic",
            "--continue-on-failure",
            "--no-shrink",
            "--no-color",
            "--suppress-health-check=all",
            *options,
            seconds=200.0,
            expect=None,
        )

    async def test_every_operation_keeps_its_word(self):
        await self.start_judged()
        await self.start_agent()
        await self.map(self.serve(Target()))
        await self.order("/api/agent-key/create", {"name": "office"})
        served = (await self.api("GET", "/api/openapi.json")).body
        del served["paths"]["/api/events"]  # an answer without end
        judged = await self.judge(self.write_document(served))
        self.assertEqual(judged.exit_code, 0, judged.text())
        operations = sum(map(len, served["paths"].values()))
        self.assertIn(f"Tested: {operations}\n", judged.text())

    async def test_a_document_that_is_wrong_is_found_out(self):
        await self.start_judged()
        for change, words in (
            ({"status": {"const": "dead"}}, "Response violates schema"),
            ({"luck": {"type": "string"}}, "Response violates schema"),
        ):
            false: dict[str, Any] = json.loads(json.dumps(document()))
            row = false["components"]["schemas"]["Alive"]
            row["properties"] |= change
            row["required"] = list(row["properties"])
            judged = await self.judge(
                self.write_document(false), "--include-path=/livez"
            )
            self.assertEqual(judged.exit_code, 1, judged.text())
            self.assertIn(words, judged.text())
