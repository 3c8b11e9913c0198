"""What commands print."""

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from gateway.cli.output import aligned, printable, show_table


class Terminal(io.StringIO):
    """Standard output that is a terminal."""

    def isatty(self):
        return True


class OutputTests(SynchronousTestCase):
    """Tables for people and for pipes."""

    def test_wide_letters_take_two_places(self):
        self.assertEqual(aligned([["名字", "x"], ["ab", "y"]]), ["名字  x", "ab    y"])

    def test_nothing_hangs_over_the_end(self):
        self.assertEqual(aligned([["a", ""], ["b", "long"]]), ["a", "b  long"])

    def test_control_letters_are_escaped(self):
        self.assertEqual(printable("a\nb\x9bc\u200b"), "a\\nb\\x9bc\\u200b")
        self.assertEqual(printable("größe 名字"), "größe 名字")

    def test_a_terminal_gets_a_ruled_table(self):
        """And words in square brackets stay words."""
        screen = Terminal()
        self.patch(sys, "stdout", screen)
        show_table(("NAME",), [("[red]x[/red]",)])
        self.assertIn("[red]x[/red]", screen.getvalue())
        self.assertIn("─", screen.getvalue())
