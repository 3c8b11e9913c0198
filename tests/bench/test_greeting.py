"""The first lines."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.bench.greeting import (
    LONGEST_LINE,
    Command,
    Part,
    answer_line,
    usage_of,
)
from gateway.bench.usage import Usage

COMMANDS = st.builds(Command, st.sampled_from(Part), st.integers(1, 1 << 30))


class GreetingTests(SynchronousTestCase):
    """What one end writes, and what the other reads."""

    @given(COMMANDS)
    def test_a_command_is_read_as_it_was_written(self, command):
        line = command.line()
        self.assertLessEqual(len(line), LONGEST_LINE)
        self.assertTrue(line.endswith(b"\n"))
        self.assertEqual(Command.of_line(line), command)

    @given(st.floats(0, 1e9), st.floats(0, 1e9))
    def test_an_answer_brings_the_usage(self, ran, waited):
        answer = answer_line(Usage(ran, waited))
        self.assertLessEqual(len(answer), LONGEST_LINE)
        found = usage_of(answer, Command(Part.ECHO, 1).line())
        assert found is not None
        self.assertAlmostEqual(found.ran, ran, places=5)
        self.assertAlmostEqual(found.waited, waited, places=5)

    @given(COMMANDS)
    def test_a_plain_echo_is_known(self, command):
        self.assertIsNone(usage_of(command.line(), command.line()))

    def test_the_lines_are_those_of_the_document(self):
        """Both ends may be of different releases."""
        self.assertEqual(
            Command(Part.SINK, 65536).line(), b"gotunnel-bench 1 sink 65536\n"
        )
        self.assertEqual(
            answer_line(Usage(1.5, 0.25)), b"gotunnel-bench 1 ok 1.500000 0.250000\n"
        )

    def test_strangers_are_refused(self):
        for line in (
            b"GET / HTTP/1.1\n",
            b"gotunnel-bench 2 echo 1\n",
            b"gotunnel-bench 1 fly 1\n",
            b"gotunnel-bench 1 source 0\n",
            b"gotunnel-bench 1 source x\n",
            b"gotunnel-bench 1 source 99999999999\n",
            b"gotunnel-bench 1 ok 1\n",
            b"\xff\n",
        ):
            self.assertRaises(ValueError, Command.of_line, line)
            self.assertRaises(ValueError, usage_of, line, b"")
