"""Bodies: what is taken, what is refused, and what the refusal says."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.api.bodies import AgentKeyBody, CreateBody, RemoveBody, UpdateBody
from gateway.api.reading import SPELLINGS, read_body
from gateway.errors import BadRequestError, CallerError, NotAvailableError
from gateway.policy.addresses import check_listen
from gateway.policy.mapping import UNSET, MappingChanges, MappingWish
from tests.api.calls import ApiTestCase

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["tcp", "udp", "::1", "\ud800", "a\nb"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [*CreateBody.model_fields, *RemoveBody.model_fields, *SPELLINGS, "access_rule"]
)
OBJECTS = st.dictionaries(KEYS | st.text(), VALUES, max_size=6)
PORTS = st.integers(1, 65535)
PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)

# both as answers show them
ADDRESSES = st.ip_addresses().map(str).map(check_listen)
HOSTS = st.sampled_from(["", "nas", "my_box.example.com"]) | ADDRESSES


def spelled(body, choice):
    """Return the body with each key in one of its spellings."""
    other = {plain: longer for longer, plain in SPELLINGS.items()}
    return {
        other[key] if key in other and choice.draw(st.booleans()) else key: value
        for key, value in body.items()
    }


class ReadBodyTests(SynchronousTestCase):
    """From bytes to a body."""

    def refusal(self, text, model=CreateBody):
        """Return the message that the body is refused with."""
        if not isinstance(text, bytes):
            text = json.dumps(text).encode()
        return str(self.assertRaises(BadRequestError, read_body, text, model))

    def test_ports_are_refused_with_their_value_and_the_limit(self):
        for value, said in (
            ("10001", "'10001'"),
            (10001.0, "10001.0"),
            (True, "true"),
            (-1, "-1"),
            (70000, "70000"),
            (None, "null"),
            ([1], "[1]"),
        ):
            for key in ("port", "source_port"):
                message = self.refusal({key: value})
                self.assertIn(f"port: {said} is not", message)
                self.assertIn("from 0 to 65535", message)
            message = self.refusal({"port": value}, RemoveBody)
            self.assertIn("from 1 to 65535", message)
        message = self.refusal({"port": 1, "target_port": 0})
        self.assertIn("target_port: 0 is not a whole number from 1 to 65535", message)

    def test_all_faults_of_a_body_are_said_at_once(self):
        message = self.refusal({"port": "x", "name": 5, "use_tunnel": "yes"})
        for key in ("port", "name", "use_tunnel"):
            self.assertIn(f"{key}: ", message)

    def test_an_unknown_key_names_the_nearest(self):
        for key, near in (
            ("prot", "port"),
            ("target_prt", "target_port"),
            ("targetip", "target_ip"),
            ("Labels", "labels"),
        ):
            message = self.refusal({"port": 1, key: 1})
            self.assertIn(f"unknown key {key!r}; did you mean {near}?", message)
        self.assertIn("known: port, ", self.refusal({"xyzzy": 1}))

    def test_spellings_that_differ_are_refused(self):
        for body, said in (
            ({"port": 1, "source_port": 2}, "port and source_port"),
            ({"source_port": 2, "port": 1}, "port and source_port"),
            ({"port": 1, "source_port": True}, "port and source_port"),
            (
                {"port": 1, "target_ip": "a", "target_host": "b"},
                "target_host and target_ip",
            ),
        ):
            self.assertIn(f"{said} mean the same and differ", self.refusal(body))

    def test_spellings_that_agree_are_taken(self):
        body = read_body(b'{"port": 5, "source_port": 5}', CreateBody)
        self.assertEqual(body.port, 5)

    def test_what_is_not_one_json_object(self):
        for text, said in (
            (b"", "not JSON"),
            (b"{", "not JSON"),
            (b"port=1", "not JSON"),
            (b"{'port': 1}", "not JSON"),
            (b'{"port": 1} {}', "not JSON"),
            (b"[]", "not a JSON object"),
            (b"null", "not a JSON object"),
            (b'"x"', "not a JSON object"),
            (b"\xff\xfe", "not UTF-8"),
            (b'{"port": NaN}', "NaN is not JSON"),
            (b'{"port": -Infinity}', "-Infinity is not JSON"),
            (b'{"port": 1, "port": 1}', "'port' is there twice"),
            (b'{"labels": {"a": "b", "a": "b"}}', "'a' is there twice"),
            (b"[" * 60000, "nested too deeply"),
            (b'{"a":' * 10000, "nested too deeply"),
            (b'{"port": %s}' % (b"1" * 5000), "too long"),
        ):
            self.assertIn(said, self.refusal(text), text[:40])

    def test_texts_have_limits(self):
        labels = {str(number): "x" for number in range(33)}
        cases: list[tuple[dict[str, object], str]] = [
            ({"name": "x" * 101}, "name: "),
            ({"name": "a\nb"}, "control characters"),
            ({"name": "\ud800"}, "name: '\\ud800'"),
            ({"agent": ""}, "agent: "),
            ({"target_ip": "x" * 256}, "target_host: "),
            ({"target_ip": "a\x00"}, "control characters"),
            ({"labels": labels}, "labels: "),
            ({"labels": {"": "x"}}, "labels"),
            ({"labels": {"k" * 64: "x"}}, "labels"),
            ({"labels": {"k": "x" * 256}}, "labels.k: "),
            ({"labels": {"k": 1}}, "labels.k: 1: "),
            ({"labels": ["k"]}, "labels: "),
            ({"target_ip": "a b"}, "target_host: 'a b' is neither a host name nor"),
            ({"target_ip": "300.1.1.1"}, "'300.1.1.1' is not an IPv4 address"),
            ({"listen": "nas"}, "listen: 'nas' is not an address to listen on"),
            ({"listen": "127.0.0.1:80"}, "is not an address to listen on"),
            ({"protocol": "sctp"}, "protocol: 'sctp'"),
            ({"use_tunnel": 1}, "use_tunnel: 1: "),
        ]
        for body, said in cases:
            self.assertIn(said, self.refusal({"port": 1, **body}), body)

    def test_places_take_one_form(self):
        body = {"port": 1, "target_ip": "NAS.Example.", "listen": "localhost"}
        wish = read_body(json.dumps(body).encode(), CreateBody).wish()
        self.assertEqual((wish.target_host, wish.listen), ("nas.example", "127.0.0.1"))
        text = json.dumps({"port": 1, "target_ip": "0:0::1"}).encode()
        self.assertEqual(read_body(text, UpdateBody).changes().target_host, "::1")

    def test_the_largest_texts_are_taken(self):
        labels = {f"{number:063}": "x" * 255 for number in range(32)}
        body = {"port": 1, "name": "x" * 100, "labels": labels}
        wish = read_body(json.dumps(body).encode(), CreateBody).wish()
        self.assertEqual((wish.name, wish.labels), ("x" * 100, labels))

    def test_messages_stay_short(self):
        long = "x" * 5000
        for key, value in (("name", [long]), (long, 1), ("listen", long)):
            self.assertLess(len(self.refusal({"port": 1, key: value})), 500)

    def test_a_key_of_an_agent_is_not_repeated(self):
        key = "gtk_0123abcd_" + "Zz-_9" * 8 + "abc"
        for body in (
            {"name": key, key: 1},
            {"name": f"{key} {key}", "ports": key, "targets": [key]},
            {"name": [key], "max_links": key, "targets": {"a": key}},
        ):
            fault = self.assertRaises(
                BadRequestError, read_body, json.dumps(body).encode(), AgentKeyBody
            )
            self.assertNotIn("Zz-_9", str(fault))

    def test_features_to_come_are_called_so(self):
        bodies: list[dict[str, object]] = [
            {"protocol": "udp"},
            {"protocol": "UDP"},
        ]
        for body in bodies:
            for model in (CreateBody, UpdateBody):
                text = json.dumps({"port": 1, **body}).encode()
                fault = self.assertRaises(NotAvailableError, read_body, text, model)
                self.assertIn("is not available yet", str(fault))

    @settings(deadline=None, database=None)
    @given(OBJECTS, st.sampled_from([CreateBody, RemoveBody, UpdateBody]))
    def test_any_object_is_read_or_refused_in_words(self, body, model):
        """No object makes the reader fail in any other way."""
        try:
            read_body(json.dumps(body).encode(), model)
        except CallerError as fault:
            self.assertEqual(fault.http_code, 400)
            fault.text("zh").encode()

    @settings(deadline=None, database=None)
    @given(st.binary(max_size=200))
    def test_any_bytes_are_read_or_refused_in_words(self, text):
        try:
            read_body(text, CreateBody)
        except CallerError as fault:
            self.assertEqual(fault.http_code, 400)

    @settings(deadline=None, database=None)
    @given(
        st.fixed_dictionaries(
            {"port": st.integers(0, 65535)},
            optional={
                "target_host": HOSTS,
                "target_port": st.none() | PORTS,
                "use_tunnel": st.none() | st.booleans(),
                "listen": ADDRESSES | st.just(""),
                "agent": st.none() | PLAIN.filter(bool),
                "name": PLAIN,
                "labels": st.dictionaries(PLAIN.filter(bool), PLAIN, max_size=4),
            },
        ),
        st.data(),
    )
    def test_both_spellings_mean_the_same_wish(self, body, choice):
        text = json.dumps(spelled(body, choice)).encode()
        expected = {**body, "target_host": body.get("target_host") or None}
        self.assertEqual(read_body(text, CreateBody).wish(), MappingWish(**expected))

    @settings(deadline=None, database=None)
    @given(
        st.fixed_dictionaries(
            {"port": PORTS},
            optional={
                "target_host": HOSTS,
                "target_port": PORTS,
                "use_tunnel": st.booleans(),
                "agent": st.none() | PLAIN.filter(bool),
                "name": PLAIN,
                "labels": st.dictionaries(PLAIN.filter(bool), PLAIN, max_size=4),
            },
        ),
        st.data(),
    )
    def test_both_spellings_mean_the_same_changes(self, body, choice):
        text = json.dumps(spelled(body, choice)).encode()
        expected = {key: value for key, value in body.items() if key != "port"}
        changes = read_body(text, UpdateBody).changes()
        self.assertEqual(changes, MappingChanges(**expected))
        if "name" not in body:
            self.assertIs(changes.name, UNSET)


class AnyBodyTests(ApiTestCase):
    """The same through the routes."""

    @settings(deadline=None, database=None)
    @given(st.sampled_from(["create", "remove", "update"]), OBJECTS | VALUES)
    def test_no_json_makes_a_server_error(self, word, value):
        answer = self.post(f"/api/mapping/{word}", json.dumps(value))
        self.assertIn(answer.code, (200, 400, 404, 409))
        self.assertIs(answer.json["success"], answer.code == 200)
