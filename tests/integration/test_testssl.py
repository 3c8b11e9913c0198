"""The two TLS ports under the eyes of testssl.sh."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred, gatherResults

from tests.integration.processes import require
from tests.integration.test_tls import HOST, SealedCase

HARMLESS = {"OK", "INFO", "DEBUG"}
ITS_OWN = {"engine_problem"}  # about the program's own openssl


class ScanTests(SealedCase):
    """No old protocol, no weak suite, no known hole."""

    async def test_nothing_is_found(self):
        testssl = require("testssl")["testssl"]
        cert_file, key_file = self.gateway_cert
        self.gateway_config(
            security={"tunnel": self.link_files()},
            api={
                "tls": {"enabled": True, "cert_file": cert_file, "key_file": key_file}
            },
        )
        gateway = self.launch_gateway()
        await gateway.says("gateway ready")
        ports = (self.link_port, self.api_port)
        scans = [
            self.start(
                *(testssl, "--quiet", "--color", "0", "--warnings", "batch"),
                *("--ip", "one", "-p", "-s", "-U", "--jsonfile", f"{port}.json"),
                f"{HOST}:{port}",
                name=f"testssl-{port}",
            )
            for port in ports
        ]
        ends = [Deferred.fromCoroutine(one.ended(100.0)) for one in scans]
        await gatherResults(ends)
        for port in ports:
            rows = json.loads((self.folder / f"{port}.json").read_text())
            found = {row["id"]: row["severity"] for row in rows}
            self.assertIn("TLS1_3", found)
            self.assertIn("heartbleed", found)
            bad = {
                name: severity
                for name, severity in found.items()
                if severity not in HARMLESS and name not in ITS_OWN
            }
            self.assertEqual(bad, {})
        self.assertIsNone(gateway.exit_code)
