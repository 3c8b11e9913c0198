"""The example for Kubernetes fits the gateway that it runs."""

from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from gateway.api.openapi import document
from tests.config.loading import load

FILE = Path(__file__).parents[2] / "etc" / "kubernetes" / "gotunnel.yaml"


class DeploymentTests(SynchronousTestCase):
    """etc/kubernetes/gotunnel.yaml."""

    def setUp(self):
        found: dict[str, Any] = {
            one["kind"]: one for one in yaml.safe_load_all(FILE.read_text())
        }
        pod = found["Deployment"]["spec"]["template"]["spec"]
        self.grace = pod["terminationGracePeriodSeconds"]
        self.replicas = found["Deployment"]["spec"]["replicas"]
        (self.container,) = pod["containers"]
        self.text = found["ConfigMap"]["data"]["gw.yaml"]
        self.ports = {one["name"]: one for one in found["Service"]["spec"]["ports"]}
        self.open = {
            one["name"]: one["containerPort"] for one in self.container["ports"]
        }

    def config(self):
        place = "auth_token_file: /etc/gotunnel-secret/token"
        self.assertIn(place, self.text)
        return load(
            self.text.replace(place, "auth_token: a-token-for-this-test")
        ).config

    def test_the_probes_ask_routes_of_the_port_for_probes(self):
        config = self.config()
        for probe, path, delay, period in (
            ("livenessProbe", "/livez", 5, 10),
            ("readinessProbe", "/readyz", 10, 5),
        ):
            asked = self.container[probe]
            self.assertEqual(asked["httpGet"]["path"], path)
            self.assertIn(path, document()["paths"])
            self.assertEqual(asked["httpGet"]["port"], config.health.listen_port)
            self.assertEqual(
                (asked["initialDelaySeconds"], asked["periodSeconds"]), (delay, period)
            )
        self.assertEqual(config.health.bind, "0.0.0.0")

    def test_ports_and_times_fit_the_configuration(self):
        config = self.config()
        self.assertEqual(self.open["health"], config.health.listen_port)
        self.assertEqual(self.open["agents"], config.tunnel.listen_port)
        first, last = config.port_range.first, config.port_range.last
        self.assertIn(self.open["ssh"], range(first, last + 1))
        self.assertLess(set(self.ports), set(self.open))
        self.assertGreater(self.grace, config.shutdown_timeout)
        self.assertEqual(self.replicas, 1)

    def test_what_is_written_goes_to_a_volume(self):
        config = self.config()
        mounts = [one["mountPath"] for one in self.container["volumeMounts"]]
        self.assertIn(str(Path(config.database.path).parent), mounts)
        self.assertEqual(
            self.container["resources"],
            {
                "limits": {"memory": "512Mi", "cpu": "1"},
                "requests": {"memory": "256Mi", "cpu": "500m"},
            },
        )
