"""Values of options."""

import click
from twisted.trial.unittest import SynchronousTestCase

from gateway.cli.kinds import Place, dialled_place, label, listening_place, place
from gateway.config.places import HostPort

GOOD = [
    (place, "db:5432", Place("db", 5432)),
    (place, "db", Place("db", None)),
    (place, ":22", Place("", 22)),
    (place, "22", Place("", 22)),
    (place, "::1", Place("::1", None)),
    (listening_place, ":0", HostPort("", 0)),
    (listening_place, "localhost:80", HostPort("127.0.0.1", 80)),
    (dialled_place, "[::1]:22", HostPort("::1", 22)),
    (label, "a=b=c", ("a", "b=c")),
]
BAD = [
    (place, "", "must not be empty"),
    (place, "db:0", "'0' is not a port from 1 to 65535"),
    (listening_place, ":65536", "'65536' is not a port from 0 to 65535"),
    (listening_place, "db:80", "'db' is not an address to listen on"),
    (dialled_place, ":80", "':80' names no host"),
    (label, "=b", "'=b' must be KEY=TEXT"),
]


class KindTests(SynchronousTestCase):
    """What is understood, and what a usage error says of the rest."""

    def test_understood(self):
        for read, text, value in GOOD:
            self.assertEqual(read(text), value, text)

    def test_refused_with_the_reason(self):
        for read, text, reason in BAD:
            fault = self.assertRaises(click.BadParameter, read, text)
            self.assertIn(reason, fault.message)
