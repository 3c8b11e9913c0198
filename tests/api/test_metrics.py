"""What a scrape shows."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families
from treq.testing import StubTreq
from twisted.trial.unittest import SynchronousTestCase

from gateway.api.metrics_routes import LEFT_OUT, MOST_SAMPLES, MetricsRoutes
from gateway.metrics.catalogue import CATALOGUE, Readings
from gateway.metrics.tallies import Histogram
from gateway.ops.activity import activity_of
from gateway.ops.slices import Slices
from gateway.ops.vitals import LoopLag
from gateway.policy.budget import Budget
from gateway.server.measures import Measures
from gateway.server.traffic import Traffic
from gateway.wire import frames
from tests.api.fakes import build_api
from tests.link.rig import data
from tests.server.rig import GatewayCase
from tests.strategies import raw_frame

ETC = Path(__file__).parents[2] / "etc"
PREFIX = "gotunnel_"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
# names that others rely on, with their kinds
PROMISED = {
    "tunnel_connected": "gauge",
    "active_connections": "gauge",
    **{
        PREFIX + name: kind
        for name, kind in (
            ("connections", "counter"),
            ("connections_active", "gauge"),
            ("bytes_sent", "counter"),
            ("bytes_received", "counter"),
            ("errors", "counter"),
            ("connection_duration_seconds", "histogram"),
            ("forward_latency_seconds", "histogram"),
            ("pool_connections_active", "gauge"),
            ("pool_connections_created", "counter"),
            ("pool_connections_reused", "counter"),
            ("pool_connections", "counter"),
            ("pool_connections_closed", "counter"),
            ("pool_wait_duration_seconds", "histogram"),
            ("backpressure_pauses", "counter"),
            ("backpressure_yield_time_seconds", "counter"),
        )
    },
}


class MetricsCase(GatewayCase):
    """A gateway with an agent, and its API."""

    most = 1000

    def setUp(self):
        super().setUp()
        self.create(agent="web", name='a "name"')
        self.peer = self.agent("web")
        self.serve()

    def serve(self, namespace="gotunnel", left_out=frozenset()):
        slices = Slices(self.clock)
        traffic = Traffic(self.mappings, self.links, slices)
        measures = Measures(
            mappings=self.mappings,
            links=self.links,
            traffic=traffic,
            lag=LoopLag(self.clock),
            bans=self.bans,
            handshakes={},
            refusals=self.links.refusals,
            draining=lambda: False,
            most=self.most,
            api_memory=Budget(33554432),
            slices=slices,
            activity=lambda: activity_of(self.clock),
        )
        metrics = MetricsRoutes(
            measures, traffic, self.links, namespace, left_out, slices
        )
        api = build_api(self.clock, metrics=metrics)
        self.addCleanup(api.close)
        self.client: Any = StubTreq(api.resource())

    def get(self, path="/metrics", **headers):
        asked = self.client.get(f"http://localhost{path}", headers=headers)
        self.clock.advance(0)
        self.client.flush()
        got = self.successResultOf(asked)
        return got, self.successResultOf(self.client.content(got)).decode()

    def scrape(self):
        families = text_string_to_metric_families(self.get()[1])
        return {family.name: family for family in families}

    def value(self, name, **labels):
        for family in self.scrape().values():
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        raise AssertionError(f"no {name} with {labels}")


class ScrapeTests(MetricsCase):
    """The text for Prometheus."""

    def test_promised_names_have_their_kinds(self):
        found = {name: family.type for name, family in self.scrape().items()}
        self.assertEqual(PROMISED, {name: found.get(name) for name in PROMISED})

    def test_everything_shown_is_in_the_catalogue_with_its_labels(self):
        visitor = self.visit()
        self.peer.reached()
        visitor.peer_resets()
        for name, family in self.scrape().items():
            if name.startswith(("process_",)):
                continue
            plain = name.removeprefix(PREFIX)
            meaning = CATALOGUE.get(plain) or CATALOGUE.get(f"{plain}_total")
            meaning = meaning or CATALOGUE[plain.removesuffix("_info")]
            self.assertEqual(meaning.text, family.documentation)
            for sample in family.samples:
                labels = set(sample.labels) - {"le"}
                self.assertEqual(labels, set(meaning.labels), name)

    def test_numbers_are_those_of_the_visits(self):
        visitor = self.visit()
        visitor.peer_sends(b"question")
        self.later(0.5)
        self.peer.reached()
        self.assertEqual(1, self.value("active_connections"))
        self.assertEqual(8, self.value("gotunnel_bytes_sent_total"))
        sent = {"port": "10080", "direction": "sent"}
        self.assertEqual(8, self.value("gotunnel_mapping_bytes_total", **sent))
        self.assertEqual(
            8, self.value("gotunnel_agent_bytes_total", agent="web", direction="sent")
        )
        latency = "gotunnel_forward_latency_seconds"
        self.assertEqual(0, self.value(f"{latency}_bucket", le="0.256"))
        self.assertEqual(1, self.value(f"{latency}_bucket", le="0.512"))
        self.assertEqual(0.5, self.value(f"{latency}_sum"))
        visitor.peer_resets()
        self.assertEqual(8, self.value("gotunnel_bytes_sent_total"))
        self.assertEqual(1, self.value("gotunnel_outcomes_total", outcome="broken"))

    def test_the_alert_for_a_lost_tunnel_has_its_number(self):
        self.assertEqual(1, self.value("tunnel_connected"))
        self.peer.transport.peer_resets()
        self.assertEqual(0, self.value("tunnel_connected"))
        self.assertEqual(0, self.value("gotunnel_agent_up", agent="web"))

    def test_a_mapping_that_cannot_serve_is_named(self):
        self.create(10081, agent="db")
        unreachable = "gotunnel_mapping_unreachable"
        cause = {"port": "10081", "cause": "agent_absent"}
        self.assertEqual(1, self.value(unreachable, **cause))
        self.assertEqual(1, self.value("gotunnel_mappings", state="unreachable"))
        self.assertEqual(1, self.value("gotunnel_mappings", state="listening"))
        self.agent("db")
        self.assertNotIn(unreachable, self.scrape())

    def test_what_runs_is_counted(self):
        self.visit()
        before = self.value("gotunnel_delayed_calls")
        self.clock.callLater(3600, lambda: None)
        self.assertEqual(before + 1, self.value("gotunnel_delayed_calls"))
        self.assertEqual(2, self.value("gotunnel_tasks_running"))
        self.assertLessEqual(1, self.value("gotunnel_threads"))
        self.assertEqual(0, self.value("gotunnel_reactor_readers"))

    def test_faults_of_the_protocol_are_counted_by_kind(self):
        self.peer.says(raw_frame(frames.CONNECT_REQUEST))
        faults = self.scrape()["gotunnel_protocol_faults"].samples
        self.assertEqual(
            [({"kind": "misplaced"}, 1)], [(one.labels, one.value) for one in faults]
        )

    def test_a_wait_shows_while_it_lasts(self):
        self.visit()
        self.peer.reached()
        self.mappings.crowd.stalls.waiting = self.peer.link.stalls.waiting
        self.peer.link.stalls.seconds = self.mappings.crowd.stalls.seconds
        self.peer.says(data(1, b"x" * 200000))
        seen = []
        for _ in range(3):
            self.later(1)
            seen.append(self.value("gotunnel_stall_seconds_total", cause="visitor"))
        self.assertEqual([1, 2, 3], seen)

    def test_every_limit_is_there(self):
        self.assertEqual(1, self.value("gotunnel_limit_used", limit="limits.mappings"))
        self.visit()
        per_ip = self.value("gotunnel_limit_used", limit="limits.connections_per_ip")
        self.assertEqual(1, per_ip)

    def test_links_are_created_and_reused(self):
        for _ in range(3):
            self.visit()
        self.assertEqual(1, self.value("gotunnel_pool_connections_created_total"))
        self.assertEqual(2, self.value("gotunnel_pool_connections_reused_total"))
        self.assertEqual(3, self.value("gotunnel_pool_connections_total"))

    def test_another_namespace_and_none(self):
        self.serve("my_tunnel")
        self.assertEqual(0, self.value("my_tunnel_connections_total"))
        self.serve("")
        self.assertEqual(0, self.value("connections_total"))
        self.assertEqual(1, self.value("tunnel_connected"))

    def test_what_is_switched_off_is_left_out(self):
        self.serve(left_out=frozenset(LEFT_OUT["pool"]))
        names = self.scrape()
        self.assertFalse([name for name in names if "pool" in name])
        self.assertIn("gotunnel_forward_latency_seconds", names)

    def test_open_metrics_passes_the_strict_parser(self):
        visitor = self.visit()
        self.peer.reached()
        visitor.peer_resets()
        for port in range(10040, 10040 + MOST_SAMPLES):
            self.create(port, agent="web")
        for namespace in ("gotunnel", "my_tunnel", ""):
            self.serve(namespace)
            families = list(open_metrics(self.get(Accept=OPEN_METRICS)[1]))
            text = {sample.name for f in self.scrape().values() for sample in f.samples}
            names = {sample.name for family in families for sample in family.samples}
            left_out = f"{namespace}_pool_connections_total".removeprefix("_")
            self.assertEqual({left_out}, text - names)

    def test_open_metrics_for_who_asks_for_it(self):
        got, text = self.get(Accept=OPEN_METRICS)
        [content_type] = got.headers.getRawHeaders("content-type")
        self.assertTrue(content_type.startswith("application/openmetrics-text"))
        self.assertTrue(text.endswith("# EOF\n"))

    def test_json_for_who_asks_for_it(self):
        self.visit()
        wanted = {
            "ActiveTunnels": 1,
            "TotalTunnels": 1,
            "ActiveConns": 1,
            "TotalConns": 1,
            "BytesIn": 0,
            "BytesOut": 0,
        }
        self.assertEqual(wanted, json.loads(self.get("/metrics?format=json")[1]))
        self.assertEqual(wanted, json.loads(self.get(Accept="application/json")[1]))

    def test_a_form_that_there_is_not(self):
        got, text = self.get("/metrics?format=xml")
        self.assertEqual((400, True), (got.code, "none of json, text" in text))

    def test_the_text_is_that_of_version_0_0_4(self):
        got, _ = self.get(Accept="*/*")
        [content_type] = got.headers.getRawHeaders("content-type")
        self.assertIn("version=0.0.4", content_type)


class BoundTests(MetricsCase):
    """Labels cannot grow without end."""

    most = 2

    def test_mappings_beyond_the_bound_share_a_label(self):
        for port in (10081, 10082, 10083):
            self.create(port, agent="web")
        for port in (10080, 10082, 10083):
            self.visit(port)
        name = "gotunnel_mapping_connections_total"
        ports = [sample.labels["port"] for sample in self.scrape()[name[:-6]].samples]
        self.assertEqual(["10080", "10081", "other"], ports)
        self.assertEqual(2, self.value(name, port="other"))

    def test_agents_beyond_the_bound_are_left_out_those_away_first(self):
        self.peer.transport.peer_resets()
        self.agent("db")
        self.agent("app")
        samples = self.scrape()["gotunnel_agent_up"].samples
        self.assertEqual(["app", "db"], [one.labels["agent"] for one in samples])


class ReadingsTests(SynchronousTestCase):
    """Values on their way to the encoder."""

    def test_the_buckets_of_a_histogram_end_with_all(self):
        histogram = Histogram((1.0, 2.0))
        histogram.observe(5.0)
        readings = Readings("x")
        readings.put_histogram("forward_latency_seconds", histogram)
        [family] = readings.collect()
        rows = [(s.name[26:], s.labels.get("le"), s.value) for s in family.samples]
        self.assertEqual(
            [
                ("bucket", "1.0", 0),
                ("bucket", "2.0", 0),
                ("bucket", "+Inf", 1),
                ("count", None, 1),
                ("sum", None, 5.0),
            ],
            rows,
        )


class ShippedFilesTests(MetricsCase):
    """What etc/ asks for is there."""

    def names(self):
        found = set()
        for family in self.scrape().values():
            found |= {sample.name for sample in family.samples}
            if family.type == "histogram":
                found.add(f"{family.name}_bucket")
        return found | {"process_open_fds", "process_max_fds"}

    def check(self, expressions):
        shown = self.names()
        self.peer.transport.peer_resets()
        shown |= {
            "gotunnel_mapping_unreachable",
            "gotunnel_agent_round_trip_seconds",
            "gotunnel_rejected_total",
        }
        for expression in expressions:
            bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', "", expression)
            for name in re.findall(r"\b(?:gotunnel|process|tunnel|active)_\w+", bare):
                self.assertIn(name, shown, expression)

    def rules(self):
        groups = yaml.safe_load((ETC / "prometheus/alerts.yml").read_text("utf-8"))
        return {group["name"]: group["rules"] for group in groups["groups"]}

    def test_the_two_documented_alerts_are_as_documented(self):
        self.assertEqual(
            [
                {
                    "alert": "TunnelDisconnected",
                    "expr": "tunnel_connected == 0",
                    "for": "30s",
                    "labels": {"severity": "critical"},
                    "annotations": {"summary": "隧道连接断开"},
                },
                {
                    "alert": "HighConnectionCount",
                    "expr": "active_connections > 1000",
                    "for": "1m",
                    "labels": {"severity": "warning"},
                    "annotations": {"summary": "连接数过高"},
                },
            ],
            self.rules()["go-tunnel"],
        )

    def test_every_name_of_the_alerts_is_exported(self):
        self.check([rule["expr"] for rules in self.rules().values() for rule in rules])

    def test_every_name_of_the_dashboard_is_exported(self):
        board = json.loads((ETC / "grafana/dashboards/gotunnel.json").read_text())
        self.check(
            [
                target["expr"].replace('{instance=~"$instance"}', "")
                for panel in board["panels"]
                for target in panel["targets"]
            ]
        )
