"""The whole command: versions, help and what every part of it has."""

import click
from twisted.trial.unittest import SynchronousTestCase

from gateway import __version__
from gateway.cli.exits import Exit
from gateway.cli.main import gotunnel
from tests.cli.cases import run


def commands(command=gotunnel, *names):
    """Return every command with the words that lead to it."""
    found = [(names, command)]
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            found += commands(below, *names, name)
    return found


class EveryCommandTests(SynchronousTestCase):
    """What holds for all of them."""

    def test_help_and_version(self):
        for names, _ in commands():
            result = run(*names, "--help")
            self.assertEqual(result.exit_code, 0, names)
            self.assertIn(" ".join(["Usage: gotunnel", *names]), result.stdout)
            result = run(*names, "--version")
            self.assertEqual(result.stdout, f"gotunnel {__version__}\n", names)

    def test_every_option_and_command_has_a_help_text(self):
        for names, command in commands():
            self.assertTrue(command.help, names)
            for parameter in command.params:
                if isinstance(parameter, click.Option):
                    self.assertTrue(parameter.help, (names, parameter.name))

    def test_what_prints_rows_can_print_json(self):
        silent = {"server", "agent", "forward", "proxy", "demo", "firewall"}
        for names, command in commands():
            if (
                names
                and names[0] not in silent
                and not isinstance(command, click.Group)
            ):
                self.assertIn("as_json", {one.name for one in command.params}, names)

    def test_wrong_usage_is_2(self):
        for words in (["nothing"], ["map", "nothing"], ["map", "list", "--nothing"]):
            self.assertEqual(run(*words).exit_code, Exit.USAGE)

    def test_the_exit_codes_are_in_the_help(self):
        shown = run("--help").stdout
        for code in Exit:
            self.assertIn(f"  {int(code)}  ", shown)

    def test_options_of_one_hyphen(self):
        """The agent and the proxy are also called as their forerunners were."""
        self.assertEqual(run("proxy", "-version").stdout, f"gotunnel {__version__}\n")
        for name in ("proxy", "agent"):
            self.assertEqual(run(name, "-help").exit_code, 0)
