"""Texts from peers, callers and the store, in everything that the gateway says."""

import json
from itertools import chain

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from prometheus_client import exposition

from gateway.api.answers import mapping_row
from gateway.api.bodies import CreateBody
from gateway.api.event_routes import event_text
from gateway.api.metrics_routes import MetricsRoutes
from gateway.api.reading import read_body
from gateway.api.replies import encode
from gateway.cli.declared import declared_of, declared_yaml, parse_declared
from gateway.cli.output import aligned, printable
from gateway.errors import BadRequestError
from gateway.ops.activity import activity_of
from gateway.ops.log_lines import JsonLines, format_line
from gateway.ops.slices import Slices
from gateway.ops.vitals import LoopLag
from gateway.policy.budget import Budget
from gateway.policy.mapping import Mapping, Target
from gateway.server.measures import Measures
from gateway.server.traffic import Traffic
from gateway.wire import frames
from gateway.wire.messages import Goaway, encode_goaway
from tests.link.rig import INSTANCE
from tests.server.rig import NOON, GatewayCase
from tests.strategies import json_frame, raw_frame
from tests.wire.test_plain import TEXTS, forbidden_in

NASTY = "a\x1b[31m\x9b\u202e\u2066\x7f\u2028b"


class TextCase(GatewayCase):
    """A gateway, and everything that it says of others."""

    def said(self):
        """Return all that can be read of the gateway, by channel."""
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
            most=1000,
            api_memory=Budget(),
            slices=slices,
            activity=lambda: activity_of(self.clock),
        )
        metrics = MetricsRoutes(
            measures, traffic, self.links, "gotunnel", frozenset(), slices
        )
        rows = [mapping_row(view) for view in self.mappings.views()]
        agents = [view._asdict() for view in self.links.views()]
        scraped = metrics.scrape(exposition.generate_latest, frozenset())
        yield "metrics", self.now(scraped).decode()
        yield "answers", encode({"rows": [one.model_dump() for one in rows]}).decode()
        yield "agents", encode({"agents": agents}).decode()
        yield "labels", repr([view.mapping.name for view in self.mappings.views()])
        exported = declared_yaml([declared_of(row) for row in rows])
        yield "export", exported
        yield "export", json.dumps([one.name for one in parse_declared(exported, "x")])
        cells = [
            [printable(str(part)) for part in row.model_dump().values()] for row in rows
        ]
        yield (
            "tables",
            "\n".join(aligned([["a"] * len(cells[0]), *cells]) if cells else []),
        )
        for event in self.happened.recent(100):
            yield "events", event_text("feed", event).decode()
            yield "fields", json.dumps(event.fields, ensure_ascii=False)
        for event in self.events:
            yield "log", format_line(event) or ""
            yield "log as JSON", JsonLines("gateway")(event) or ""

    def assert_plain(self):
        """Fail if any channel has a character that does more than be read."""
        for channel, text in self.said():
            found = forbidden_in(text.replace("\n", ""))
            self.assertEqual([], found, f"{channel}: {text!a}")
        for view in self.mappings.views():
            mapping = view.mapping
            texts = [mapping.name, mapping.agent or "", *mapping.labels.values()]
            self.assertEqual([], forbidden_in("".join(texts)))


class PeerTextTests(TextCase):
    """Any text in every place where a peer may put one."""

    def assert_harmless(self, text):
        """Put a text into every frame that an agent can send."""
        whole = text.encode(errors="replace").decode()
        fields = {"agent": "web", "instance": INSTANCE, "features": ["register"]}
        agent = self.connect()
        agent.says(json_frame(frames.HELLO, **fields, software=whole[:200]))
        for wish in (
            {"id": whole[:64], "local": 80},
            {"id": "a", "protocol": whole[:32], "local": 80},
            {"id": "b", "host": whole[:255], "local": 80},
        ):
            agent.says(json_frame(frames.REGISTER, **wish))
        agent.says(encode_goaway(Goaway(1, text)))
        agent.says(raw_frame(frames.GOAWAY, b"\x01" + whole.encode()))
        self.assert_plain()
        for key in ("agent", "instance", "link", "features", "window", "auth"):
            agent = self.connect()
            agent.says(json_frame(frames.HELLO, **{**fields, key: whole}))
            agent.says(raw_frame(frames.AUTH, f"n,,n={whole},r=abc".encode()))
        self.assert_plain()
        for kind, payload in agent.heard():
            if kind in (frames.HELLO_ACK, frames.REGISTER_ACK, frames.AUTH):
                self.assertEqual([], forbidden_in(bytes(payload).decode()))

    def test_nasty_texts(self):
        self.assert_harmless(NASTY)

    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(TEXTS)
    def test_any_text(self, text):
        self.events.clear()
        self.build()
        self.assert_harmless(text)

    def test_an_id_that_is_not_plain_ends_the_link(self):
        agent = self.agent("web", features=["register"])
        agent.heard()
        agent.says(json_frame(frames.REGISTER, id="a\u202eb", local=80))
        self.assertFalse(self.links.has("web"))
        self.assertEqual([], self.mappings.views())

    def test_software_is_shown_cleaned(self):
        self.agent("web", software="evil\x1b[31m")
        (view,) = self.links.views()
        self.assertEqual(r"evil\x1b[31m", view.software)


class CallerTextTests(TextCase):
    """Bodies of the API."""

    @settings(max_examples=60, deadline=None)
    @given(TEXTS, st.sampled_from(["name", "agent", "labels", "key", "target_host"]))
    @example(NASTY, "name")
    def test_any_text_is_stored_plain_or_refused(self, text, key):
        value = {"labels": {"a": text}, "key": {text: "a"}}.get(key, text)
        body = {"port": 10001, "labels" if key == "key" else key: value}
        content = json.dumps(body).encode()
        try:
            found = read_body(content, CreateBody)
        except BadRequestError as fault:
            self.assertEqual([], forbidden_in(str(fault)))
        else:
            self.assertEqual([], forbidden_in(found.name + (found.agent or "")))
            self.assertEqual([], forbidden_in("".join(chain(*found.labels.items()))))


class StoredTextTests(TextCase):
    """Rows that an older release, or somebody else, has written."""

    def stored(self, agent=None, **texts):
        return Mapping(
            port=10005,
            targets=(Target(host="", port=80, use_tunnel=True, agent=agent),),
            created_at=NOON,
            updated_at=NOON,
            **texts,
        )

    def test_are_cleaned_at_the_start_and_at_a_reload(self):
        nasty = self.stored(name=NASTY, agent=NASTY, labels={NASTY: NASTY})
        self.successResultOf(self.ensure(self.store.insert(nasty)))
        self.successResultOf(self.ensure(self.mappings.restore()))
        self.assert_plain()
        (view,) = self.mappings.views()
        self.assertIn(r"a\x1b[31m", view.mapping.name)
        self.successResultOf(self.ensure(self.mappings.reload(10005)))
        self.assert_plain()

    def test_plain_ones_stay_as_they_are(self):
        plain = self.stored(name="é漢 plain", labels={"a": "b"})
        self.successResultOf(self.ensure(self.store.insert(plain)))
        self.successResultOf(self.ensure(self.mappings.restore()))
        (view,) = self.mappings.views()
        self.assertEqual(
            ("é漢 plain", {"a": "b"}), (view.mapping.name, view.mapping.labels)
        )
