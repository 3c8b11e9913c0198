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

    def test_every_config_has_a_short_form(self):
        for names, command in commands():
            for parameter in command.params:
                if "--config" in parameter.opts:
                    self.assertIn("-c", parameter.opts, names)

    def test_a_long_option_with_one_hyphen_is_named_whole(self):
        for words in (
            "events -follow",
            "map list -json",
            "server -config gw.yaml",
            "logs -level=warn",
            "logs level -json",
            "agent -token-file x",
        ):
            result = run(*words.split())
            self.assertEqual(result.exit_code, Exit.USAGE, words)
            option = next(word for word in words.split() if word[0] == "-")
            option = option.partition("=")[0]
            self.assertIn(f"No such option: {option}.", result.stderr)
            self.assertIn(f"two hyphens: -{option}\n", result.stderr)

    def test_short_options_in_a_row_and_words_behind_two_hyphens_stay(self):
        for words in ("logs -fn5 --timeout x", "backup -- -force"):
            self.assertNotIn("hyphens", run(*words.split()).output)

    def test_options_of_one_hyphen(self):
        """The agent and the proxy are also called as their forerunners were."""
        self.assertEqual(run("proxy", "-version").stdout, f"gotunnel {__version__}\n")
        for name in ("proxy", "agent"):
            self.assertEqual(run(name, "-help").exit_code, 0)
