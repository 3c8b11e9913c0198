"""Limits of the JSON frames, one row for each field."""

import json
from typing import Any

from hypothesis import given
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import PayloadError
from gateway.wire import hello
from tests.strategies import json_objects

HELLO = {"instance": "0123456789abcdef"}
REGISTER = {"id": "web", "local": 80}
MAX_CREDIT = (1 << 31) - 1

# decoder, field, good values, bad values
LIMITS: list[tuple[str, str, list[Any], list[Any]]] = [
    (
        "hello",
        "agent",
        ["a", "A-1_b.c", "x" * 64],
        ["", "x" * 65, "a b", "ä", "a\n", 1, None, True, [], {}],
    ),
    (
        "hello",
        "instance",
        ["0" * 16, "0123456789abcdef"],
        [
            "0" * 15,
            "0" * 17,
            "0123456789ABCDEF",
            "g" * 16,
            "",
            1,
            None,
            "0" * 16 + "\n",
        ],
    ),
    ("hello", "link", [0, 15], [-1, 16, "0", 1.0, True, None, []]),
    ("hello", "token", [None, "", "t" * 1024], ["t" * 1025, 1, True, [], {}]),
    ("hello", "auth", [None, "", "a" * 64], ["a" * 65, 1, True, [], {}]),
    (
        "hello",
        "features",
        [[], ["a"], ["x" * 64], [str(n) for n in range(32)]],
        [[str(n) for n in range(33)], ["x" * 65], [1], [None], "a", None, {}, 1],
    ),
    (
        "hello",
        "window",
        [16384, MAX_CREDIT],
        [16383, MAX_CREDIT + 1, 0, -1, 262144.0, "262144", True, None],
    ),
    (
        "hello",
        "max_frame",
        [4100, 1048576],
        [4099, 1048577, 0, 262144.0, "262144", True, None],
    ),
    ("hello", "software", ["", "x" * 200], ["x" * 201, 1, None, []]),
    ("hello", "probe", [None, 0, 524288], [-1, 524289, 1.0, "1", True, []]),
    ("hello_ack", "session", ["", "x" * 200], ["x" * 201, 1, None]),
    ("hello_ack", "features", [[], ["register"]], ["register", [1], None]),
    ("hello_ack", "window", [16384, MAX_CREDIT], [16383, MAX_CREDIT + 1, "1", True]),
    ("hello_ack", "max_frame", [4100, 1048576], [4099, 1048577, None]),
    (
        "hello_ack",
        "heartbeat",
        [0.1, 15, 15.5, 3600],
        [0, 0.09, 3601, float("nan"), float("inf"), "15", True, None],
    ),
    ("hello_ack", "open_timeout", [0.1, 10, 3600], [0, -1, 3600.1, "10", False]),
    ("hello_ack", "links", [1, 65536], [0, 65537, 1.5, "1", True]),
    ("hello_ack", "software", ["", "x" * 200], ["x" * 201, 1, None]),
    ("hello_ack", "clock", [None, 0, 1.7e9], [-1, 1 << 41, float("nan"), "1", True]),
    ("hello_ack", "probe", [True, False], [0, 1, "true", None]),
    ("hello_ack", "error", [None, "", "x" * 2000], ["x" * 2001, 1, True, []]),
    ("register", "id", ["w", "x" * 64], ["", "x" * 65, 1, None]),
    ("register", "protocol", ["tcp", "udp", "x" * 32], ["x" * 33, 6, None]),
    ("register", "port", [0, 65535], [-1, 65536, "0", 80.0, True, None]),
    ("register", "host", ["", "h" * 255], ["h" * 256, 1, None]),
    ("register", "local", [1, 65535], [0, 65536, "80", None, True]),
    ("register", "remove", [True, False], [0, 1, "true", None]),
    ("register_ack", "id", ["", "x" * 64], ["x" * 65, 1, None]),
    ("register_ack", "public_url", ["", "x" * 1000], ["x" * 1001, 1, None]),
    ("register_ack", "port", [0, 65535], [-1, 65536, "1", None]),
    ("register_ack", "error", [None, "no"], ["x" * 2001, 1, True]),
]
FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "hello": (hello.decode_hello, HELLO),
    "hello_ack": (hello.decode_hello_ack, {}),
    "register": (hello.decode_register, REGISTER),
    "register_ack": (hello.decode_register_ack, {"id": "web"}),
}


def decode(form, **fields):
    """Decode a frame's JSON with some fields replaced."""
    decoder, rest = FORMS[form]
    return decoder(json.dumps({**rest, **fields}).encode())


class LimitTests(SynchronousTestCase):
    """Every field of every JSON frame."""

    def test_values_at_the_limits_are_taken(self):
        """And arrive as they were sent."""
        for form, field, good, _ in LIMITS:
            for value in good:
                found = getattr(decode(form, **{field: value}), field)
                wanted = frozenset(value) if isinstance(value, list) else value
                self.assertEqual(found, wanted, msg=f"{form} {field} {value!r}")

    def test_values_beyond_the_limits_are_refused(self):
        """Too low, too high, too long, of another type."""
        for form, field, _, bad in LIMITS:
            for value in bad:
                try:
                    decode(form, **{field: value})
                except PayloadError as fault:
                    self.assertIn(f"{form.upper()} {field}", str(fault))
                else:
                    self.fail(f"{form} {field} {value!r} was taken")

    def test_every_field_is_in_the_table(self):
        """A new field needs limits and a row."""
        shapes: dict[str, Any] = {
            "hello": hello.Hello,
            "hello_ack": hello.HelloAck,
            "register": hello.Register,
            "register_ack": hello.RegisterAck,
        }
        for form, shape in shapes.items():
            rows = {field for name, field, _, _ in LIMITS if name == form}
            self.assertEqual(rows, set(shape.__slots__), msg=form)

    def test_what_must_be_there_is_missed(self):
        """Instance of HELLO, id and local port of REGISTER."""
        for decoder, text in (
            (hello.decode_hello, b"{}"),
            (hello.decode_register, b'{"local":80}'),
            (hello.decode_register, b'{"id":"web"}'),
        ):
            self.assertRaises(PayloadError, decoder, text)

    def test_a_wrong_value_is_shown_in_part(self):
        """The message names field, value and limit, and stays short."""
        fault = self.assertRaises(PayloadError, decode, "hello", window=5)
        self.assertEqual(
            str(fault), "HELLO window: 5 is not a whole number, 16384..2147483647"
        )
        fault = self.assertRaises(PayloadError, decode, "hello", agent="x" * 3000)
        self.assertLess(len(str(fault)), 200)

    def test_a_removal_needs_its_id_only(self):
        """The other fields are not looked at."""
        found = decode("register", remove=True, local="nonsense")
        self.assertEqual(found, hello.Register(id="web", remove=True))

    def test_an_empty_protocol_is_tcp(self):
        """As a missing one is."""
        self.assertEqual(decode("register", protocol="").protocol, "tcp")

    @given(json_objects(*(field for _, field, _, _ in LIMITS)))
    def test_any_object_decodes_or_is_a_payload_error(self, fields):
        """No combination of fields and types escapes."""
        for decoder, _ in FORMS.values():
            try:
                decoder(json.dumps(fields).encode())
            except PayloadError as fault:
                self.assertEqual(fault.kind, "payload")


class SecretTests(SynchronousTestCase):
    """A token is never shown."""

    def test_a_token_is_not_in_the_representation(self):
        """Neither of the message nor of what is logged of it."""
        shown = repr(decode("hello", token="swordfish"))
        self.assertNotIn("swordfish", shown)

    def test_a_bad_token_is_not_in_the_message(self):
        """Whatever is wrong with it."""
        for token in ("swordfish" * 200, ["swordfish"], {"swordfish": 1}):
            fault = self.assertRaises(PayloadError, decode, "hello", token=token)
            self.assertNotIn("swordfish", str(fault))
