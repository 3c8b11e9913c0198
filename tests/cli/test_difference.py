"""The difference between declared and actual mappings, by law and by example."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.api.bodies import CreateBody, RemoveBody, UpdateBody
from gateway.cli.declared import (
    DeclaredMapping,
    declared_json,
    declared_of,
    declared_yaml,
    parse_declared,
)
from gateway.cli.difference import Action, difference
from tests.cli.fake_gateway import FakeMappings, row

# the machine may be busy with something else
law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PORTS = st.integers(1, 65535)
# few ports, so that both sides often mean the same one
PUBLIC = st.integers(10001, 10006)
# what YAML readers like to take for something else is in here often
TEXT = st.one_of(
    st.sampled_from(["1e5", "0o17", "no", "null", "~", "- x", "{", "a: b", "#", "'"]),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8),
)
HOSTS = st.sampled_from(["", "127.0.0.1", "::1", "db.example.com", "host"])
LISTENS = st.sampled_from(["", "127.0.0.1", "::1"])
AGENTS = st.none() | st.sampled_from(["home", "office"])
LABELS = st.dictionaries(TEXT.filter(bool), TEXT, max_size=2)


@st.composite
def rows(draw, sources=("stored", "stored", "stored", "agent")):
    found = []
    for port in draw(st.sets(PUBLIC, max_size=5)):
        host = draw(HOSTS)
        agent = draw(AGENTS)
        found.append(
            row(
                port,
                target_host=host,
                target_port=draw(PORTS),
                use_tunnel=not host or agent is not None or draw(st.booleans()),
                agent=agent,
                listen=draw(LISTENS),
                name=draw(TEXT),
                labels=draw(LABELS),
                source=draw(st.sampled_from(sources)),
            )
        )
    return found


@st.composite
def declarations(draw):
    found = []
    for port in draw(st.sets(PUBLIC, max_size=5)):
        fields = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "target_host": HOSTS,
                    "target_port": PORTS,
                    "agent": AGENTS,
                    "listen": LISTENS,
                    "name": TEXT,
                    "labels": LABELS,
                },
            )
        )
        if fields.get("target_host") and draw(st.booleans()):
            fields["use_tunnel"] = draw(st.booleans())
        found.append(DeclaredMapping(port=port, **fields))
    return found


def carry_out(steps, mappings):
    """Apply steps to a gateway that refuses what a real one refuses."""
    for step in steps:
        if step.action is Action.CHANGE:
            changes = {change.field: change.after for change in step.changes}
            mappings.update(
                UpdateBody.model_validate({"port": step.port, **changes}, strict=True)
            )
        if step.action in (Action.REMOVE, Action.REPLACE):
            mappings.remove(RemoveBody(port=step.port))
        if step.action in (Action.ADD, Action.REPLACE):
            wanted = step.wanted.model_dump(mode="json", exclude_none=True)
            mappings.create(CreateBody.model_validate(wanted, strict=True))


class LawTests(SynchronousTestCase):
    """What holds for every pair of a file and a gateway."""

    @law
    @given(rows())
    def test_export_then_apply_is_no_difference(self, actual):
        """Both forms of a file bring back what they were written from."""
        stored = [declared_of(one) for one in actual if one.source == "stored"]
        for text in (declared_yaml(stored), declared_json(stored)):
            declared = parse_declared(text, "export")
            self.assertEqual(difference(declared, actual, prune=True), [], text)

    @law
    @given(rows())
    def test_export_does_not_depend_on_the_order(self, actual):
        """The same mappings give the same text."""
        stored = [declared_of(one) for one in actual]
        self.assertEqual(declared_yaml(stored), declared_yaml(stored[::-1]))

    @law
    @given(declarations(), rows(sources=["stored"]))
    def test_applied_once_there_is_nothing_left_to_do(self, declared, actual):
        """The steps are accepted in their order, and lead to what is declared."""
        mappings = FakeMappings(*actual)
        carry_out(difference(declared, actual, prune=True), mappings)
        self.assertEqual(difference(declared, mappings.list(), prune=True), [])
        self.assertEqual(
            {one.port for one in mappings.list()}, {one.port for one in declared}
        )

    @law
    @given(rows(sources=["stored"]), rows(sources=["stored"]))
    def test_an_export_rebuilds_another_gateway(self, old, other):
        """What is applied elsewhere is the same there, to the last field."""
        mappings = FakeMappings(*other)
        declared = [declared_of(one) for one in old]
        carry_out(difference(declared, other, prune=True), mappings)
        rebuilt = [declared_of(one) for one in mappings.list()]
        self.assertEqual(declared_yaml(rebuilt), declared_yaml(declared))

    @law
    @given(declarations(), rows())
    def test_agents_keep_their_own(self, declared, actual):
        """No step changes or removes what an agent asked for."""
        own = {one.port for one in actual if one.source == "agent"}
        for step in difference(declared, actual, prune=True):
            if step.port in own:
                self.assertIs(step.action, Action.ADD)
                self.assertIn("agent", step.note)

    @law
    @given(declarations(), rows())
    def test_without_pruning_nothing_is_removed(self, declared, actual):
        """What the file does not name stays."""
        named = {one.port for one in declared}
        for step in difference(declared, actual, prune=False):
            self.assertIsNot(step.action, Action.REMOVE)
            self.assertIn(step.port, named)


class ExampleTests(SynchronousTestCase):
    """Single steps."""

    def only_step(self, declared, *actual):
        (step,) = difference([declared], actual, prune=True)
        return step

    def test_removals_come_first(self):
        """Room is made before it is needed."""
        actual = [row(10001), row(10002, listen="127.0.0.1"), row(10003, name="x")]
        declared = [DeclaredMapping(port=port) for port in (10002, 10003, 10004)]
        self.assertEqual(
            [step.action.value for step in difference(declared, actual, prune=True)],
            ["-", "-+", "~", "+"],
        )

    def test_a_left_out_target_port_stays(self):
        """The gateway chose it when the mapping was made."""
        declared = DeclaredMapping(port=10001, name="web")
        step = self.only_step(declared, row(10001, target_port=4711))
        self.assertEqual(step.changes, (("name", "", "web"),))

    def test_a_direct_mapping_keeps_its_port(self):
        """Without a target port, a direct mapping leads to the same port."""
        declared = DeclaredMapping(port=10001, target_host="db")
        actual = row(10001, target_host="db", target_port=5432, use_tunnel=False)
        step = self.only_step(declared, actual)
        self.assertEqual(step.changes, (("target_port", 5432, 10001),))

    def test_a_left_out_name_is_taken_away(self):
        """What a person writes nothing of is empty, not kept."""
        declared = DeclaredMapping(port=10001)
        actual = row(10001, name="web", labels={"a": "b"}, agent="home")
        step = self.only_step(declared, actual)
        self.assertEqual(
            {change.field for change in step.changes}, {"name", "labels", "agent"}
        )

    def test_another_address_is_a_replacement(self):
        """An update cannot move a listener, and the user is told."""
        declared = DeclaredMapping(port=10001, listen="::1")
        step = self.only_step(declared, row(10001))
        self.assertIs(step.action, Action.REPLACE)
        self.assertIn("connections end", step.note)
