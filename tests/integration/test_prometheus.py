"""The real Prometheus scrapes the gateway, and its alerts fire."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from twisted.internet.threads import deferToThread

from tests.integration.ports import take_ports
from tests.integration.processes import ProgramsCase, require, until
from tests.integration.rig import RigCase, script
from tests.integration.traffic import Plan, Target

ETC = Path(__file__).parents[2] / "etc" / "prometheus"
API_KEY = "a-key-for-prometheus-in-a-test"

# the tunnel is lost for 45 s and comes again
RULE_TESTS: dict[str, Any] = {
    "rule_files": [str(ETC / "alerts.yml")],
    "evaluation_interval": "5s",
    "tests": [
        {
            "interval": "5s",
            "input_series": [
                {
                    "series": 'tunnel_connected{job="go-tunnel"}',
                    "values": "1x3 0x9 1x3",
                },
                {
                    "series": 'active_connections{job="go-tunnel"}',
                    "values": "1000x3 1001x14",
                },
            ],
            "alert_rule_test": [
                {"eval_time": when, "alertname": name, "exp_alerts": expected}
                for when, name, expected in (
                    ("45s", "TunnelDisconnected", []),
                    (
                        "55s",
                        "TunnelDisconnected",
                        [
                            {
                                "exp_labels": {
                                    "severity": "critical",
                                    "job": "go-tunnel",
                                },
                                "exp_annotations": {"summary": "隧道连接断开"},
                            }
                        ],
                    ),
                    ("75s", "TunnelDisconnected", []),
                    ("15s", "HighConnectionCount", []),
                    (
                        "85s",
                        "HighConnectionCount",
                        [
                            {
                                "exp_labels": {
                                    "severity": "warning",
                                    "job": "go-tunnel",
                                },
                                "exp_annotations": {"summary": "连接数过高"},
                            }
                        ],
                    ),
                )
            ],
        }
    ],
}


def _fetch(url: str, headers: dict[str, str]) -> str:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=15) as answer:
        return str(answer.read().decode())


class ShippedRulesTests(ProgramsCase):
    """The files in etc/prometheus."""

    async def test_promtool_takes_the_configuration_and_the_rules(self):
        promtool = require("promtool")["promtool"]
        shipped = shutil.copytree(ETC, self.folder / "shipped")
        (shipped / "gotunnel.token").write_text("a.b.c")
        check = self.start(promtool, "check", "config", shipped / "prometheus.yml")
        self.assertEqual(0, await check.ended(), check.text())

    async def test_alerts_fire_when_they_are_documented_to(self):
        promtool = require("promtool")["promtool"]
        tests = self.folder / "tests.yml"
        tests.write_text(yaml.safe_dump(RULE_TESTS, allow_unicode=True), "utf-8")
        run = self.start(promtool, "test", "rules", tests)
        self.assertEqual(0, await run.ended(), run.text())


class ScrapeTests(RigCase):
    """A gateway with an agent and a visitor."""

    async def prepare(self) -> int:
        secret = self.folder / "jwt.secret"
        secret.write_text("0123456789abcdef" * 4)
        secret.chmod(0o600)
        self.gateway = await self.start_gateway(
            security={"api": {"api_key": API_KEY, "jwt_secret_file": str(secret)}},
            metrics={"require_auth": True},
        )
        issue = self.start(
            script("gotunnel"),
            *("token", "prometheus", "--role", "reader"),
            *("--secret-file", secret),
            name="token",
        )
        self.assertEqual(0, await issue.ended(), issue.text())
        self.token = issue.output
        self.use_key(API_KEY)
        self.agent = await self.start_agent()
        port = await self.map(self.serve(Target()), name="site")
        await self.exchange(port, Plan(1, 1000, 1000))
        return port

    async def test_promtool_finds_nothing_wrong_with_the_text(self):
        promtool = require("promtool")["promtool"]
        await self.prepare()
        page = await deferToThread(
            _fetch,
            f"http://127.0.0.1:{self.api_port}/metrics",
            {"X-API-Key": API_KEY},
        )
        check = self.start(promtool, "check", "metrics", typed=page.encode())
        code = await check.ended()
        self.assertEqual((0, ""), (code, check.text().strip()))

    async def test_prometheus_sees_the_traffic_and_raises_the_alarm(self):
        prometheus = require("prometheus")["prometheus"]
        port = await self.prepare()
        listen = take_ports()
        prom = self.start(
            prometheus,
            f"--config.file={self.configure()}",
            f"--storage.tsdb.path={self.folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{listen}",
        )

        async def ask(path: str) -> Any:
            url = f"http://127.0.0.1:{listen}/api/v1/{path}"
            try:
                return json.loads(await deferToThread(_fetch, url, {}))["data"]
            except OSError:
                return None

        async def scraped() -> bool:
            query = f'gotunnel_mapping_bytes_total{{port="{port}",direction="sent"}}'
            found = await ask(f"query?query={quote(query)}")
            return bool(
                found
                and found["result"]
                and float(found["result"][0]["value"][1]) >= 1000
            )

        async def alarmed() -> bool:
            found = await ask("alerts")
            return found is not None and any(
                alert["labels"]["alertname"] == "TunnelDisconnected"
                and alert["state"] == "firing"
                for alert in found["alerts"]
            )

        await until(scraped, f"it is scraped\n{prom.tail()}", 30)
        self.assertFalse(await alarmed())
        await self.agent.kill()
        await until(alarmed, "the alarm is raised", 30)

    def configure(self) -> Path:
        """Write the shipped files, changed in place and patience only."""
        config = yaml.safe_load((ETC / "prometheus.yml").read_text("utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        job = config["scrape_configs"][0]
        job["scrape_interval"] = "1s"
        job["static_configs"] = [{"targets": [f"127.0.0.1:{self.api_port}"]}]
        shutil.copy(self.token, self.folder / job["authorization"]["credentials_file"])
        rules = (ETC / "alerts.yml").read_text("utf-8").replace("for: 30s", "for: 1s")
        (self.folder / "alerts.yml").write_text(rules, "utf-8")
        path = self.folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config), "utf-8")
        return path
