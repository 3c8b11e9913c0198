"""docs/cli.md names every command and option, and no others."""

import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
from twisted.trial.unittest import SynchronousTestCase

from gateway.agent_tap import _announce
from gateway.cli.connection import USUAL_TIMEOUT_SECONDS, USUAL_URL
from gateway.cli.declared import DeclaredMapping, parse_declared
from gateway.cli.exits import Exit
from gateway.cli.main import gotunnel

PAGES = Path(__file__).parents[2] / "docs"
TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
EVERYWHERE = {"--help", "--version"}
CONNECTION = {
    "--url",
    "--ca-file",
    "--cert-file",
    "--cert-key-file",
    "--cert-key-password-file",
    "--api-key-file",
    "--api-token-file",
    "--timeout",
}
OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]+")


def sections():
    """Return the text under each heading."""
    parts = re.split(r"^## +(.+)$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(group=gotunnel, *names):
    """Return each command that does something, by its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield " ".join(["gotunnel", *names, name]), command


def spellings(command):
    """Return every way to write every option of a command."""
    return {
        spelling
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }


class CommandsTests(SynchronousTestCase):
    """The document and the commands' own help."""

    def test_every_command_has_a_section_and_every_section_a_command(self):
        described = [title for title in sections() if title.startswith("`gotunnel")]
        self.assertEqual(sorted(described), sorted(f"`{n}`" for n, _ in commands()))

    def test_every_command_is_in_the_table(self):
        for name, _ in commands():
            anchor = name.replace(" ", "-")
            self.assertIn(f"| [`{name}`](#{anchor}) |", TEXT)

    def test_every_option_is_described(self):
        for name, command in commands():
            section = sections()[f"`{name}`"]
            for spelling in spellings(command) - EVERYWHERE - CONNECTION:
                if spelling.startswith("--"):
                    self.assertRegex(section, rf"(?<![\w-]){spelling}(?![\w-])", name)

    def test_no_option_is_described_that_is_not_there(self):
        for name, command in commands():
            for word in OPTION.findall(sections()[f"`{name}`"]):
                self.assertIn(word, spellings(command) | {"-n"}, name)

    def test_the_connection_is_described_once(self):
        section = sections()["Connection"]
        for option in CONNECTION:
            self.assertIn(f"`{option}", section)
        for name, command in commands():
            if name == "gotunnel agent":
                continue  # connects to a link port; its files are not these
            self.assertIn(len(CONNECTION & spellings(command)), (0, len(CONNECTION)))
        self.assertIn(f"`{USUAL_URL}`", section)
        self.assertIn(f"{USUAL_TIMEOUT_SECONDS:g} if left out", section)

    def test_every_exit_code_is_there(self):
        rows = re.findall(r"^\| (\d) \|", sections()["Exit codes"], re.MULTILINE)
        self.assertEqual(rows, [str(int(code)) for code in Exit])


class ExampleTests(SynchronousTestCase):
    """What the document shows works."""

    def test_the_file_of_mappings_is_one(self):
        (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
        declared = parse_declared(example, "cli.md")
        self.assertEqual([mapping.port for mapping in declared], [10022, 10080])

    def test_every_key_of_the_file_is_named(self):
        section = sections()["`gotunnel map apply`"]
        for key in DeclaredMapping.model_fields:
            self.assertIn(f"`{key}`", section)

    def test_a_script_finds_the_public_address(self):
        """The line for scripts, not the one in the log that says the same."""
        (script,) = re.findall(r"^until (grep .*?) agent\.log;", TEXT, re.MULTILINE)
        log = "2026 [INFO] gateway.agent.expose: public address: tcp://gw:1\n"
        out = io.StringIO()
        self.patch(sys, "__stdout__", out)
        _announce("tcp://gw:10001")
        found = subprocess.run(
            shlex.split(script),
            input=log + out.getvalue() + log,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        self.assertEqual(found.stdout, "public address: tcp://gw:10001\n")

    def test_every_command_line_is_understood(self):
        """Parsed only: most of them would do something."""
        security = (PAGES / "security.md").read_text("utf-8")
        form = re.compile(r"^gotunnel (.*?)(?: +[#>&].*)?$", re.MULTILINE)
        lines = [*form.findall(TEXT), *form.findall(security)]
        self.assertGreater(len(lines), 20)
        for line in lines:
            words = line.split()
            command: click.Command = gotunnel
            while isinstance(command, click.Group) and not words[0].startswith("-"):
                command = command.commands[words.pop(0)]
            command.make_context(line, words)
