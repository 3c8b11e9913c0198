"""docs/configuration.md and etc/ say what the models say."""

import re
from itertools import chain
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from gateway.config.fields import SHIPPED_SECRETS
from gateway.config.files import FileContent
from gateway.config.gateway import GatewayConfig
from gateway.config.parse import AGENT, GATEWAY, load_agent, load_gateway
from gateway.config.reference import BEGIN, END, renewed, write
from gateway.config.shape import keys, leaves
from gateway.config.vocabulary import variable_of
from gateway.metrics.catalogue import CATALOGUE
from tests.config.loading import SECRET

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "configuration.md"
SNIPPET = re.compile(r"^```(yaml|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
A_SECRET = re.compile(
    r"^[^`\n]*\b(?:auth_token|token|api_key|GOTUNNEL_TOKEN|GOTUNNEL_API_KEY)[\"']?"
    r"\s*[:=]\s*[\"']?([A-Za-z0-9_-]{16,})[\"']?",
    re.MULTILINE,
)


def read_with_secrets(name):
    """Read like the real reader; every file under /etc holds a secret."""
    if name.startswith("/etc/"):
        return FileContent(SECRET.encode(), 0o600)
    return FileContent(Path(name).read_bytes(), 0o644)


def loader_of(name):
    """Return the function that loads a shipped file, by its name."""
    return load_agent if Path(name).name.startswith("agent") else load_gateway


def uncommented(text):
    """Return a shipped file with all that is commented out put in place.

    Entries of lists that are commented out behind a key are examples only.
    """
    lines = []
    for line in text.splitlines():
        found = re.fullmatch(r"(\s*)# ([a-z_]+: .*)", line)
        if found and not re.match(r"Start:|Check:", found[2]):
            line = found[1] + found[2]
        lines.append(line)
    return "\n".join(lines)


def paths_of(tree, prefix=""):
    """Return the dotted paths of all values of a mapping."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from paths_of(value, f"{prefix}{key}.")
        else:
            yield prefix + key


class PageTests(SynchronousTestCase):
    """The page of the documentation."""

    def setUp(self):
        self.page = PAGE.read_text("utf-8")

    def test_tables_are_up_to_date(self):
        self.assertEqual(renewed(self.page), self.page)

    def test_writing_renews_the_tables_only(self):
        name = self.mktemp()
        before, _, rest = self.page.partition(BEGIN)
        after = rest.partition(END)[2]
        Path(name).write_text(f"{before}{BEGIN}old{END}{after}", "utf-8")
        write(name)
        self.assertEqual(Path(name).read_text("utf-8"), self.page)

    def test_every_key_and_variable_is_there(self):
        for words in (GATEWAY, AGENT):
            for key, leaf in leaves(words.model).items():
                self.assertIn(f"\n| `{key}` |", self.page)
                self.assertIn(f"`{variable_of(key)}`", self.page)
                self.assertTrue(leaf.meaning.endswith("."), key)
                for entry in keys(leaf.kind.item) if leaf.kind.item else ():
                    self.assertIn(f"\n| `{entry}` |", self.page)
            for name in chain(words.short_names, words.later):
                self.assertIn(f"`{name}`", self.page)

    def test_snippets_load(self):
        snippets = SNIPPET.findall(self.page)
        self.assertGreater(len(snippets), 3)
        for kind, text in snippets:
            load = load_agent if "# of: agent" in text else load_gateway

            def read(name, text=text):
                is_secret = name.startswith("/etc/")
                return FileContent((SECRET if is_secret else text).encode(), 0o600)

            load(f"x.{kind}", environ={}, options={}, reader=read)


class ShippedFileTests(SynchronousTestCase):
    """The files in etc/."""

    def test_they_load(self):
        for path in [*ROOT.glob("etc/*.yaml"), *ROOT.glob("etc/examples/*.yaml")]:
            load = loader_of(path)
            load(str(path), environ={}, options={}, reader=read_with_secrets)

    def test_they_run_on_defaults(self):
        """As shipped, both files change nothing."""
        loaded = load_gateway(str(ROOT / "etc/gw.yaml"), environ={}, options={})
        self.assertEqual(loaded.config, GatewayConfig())
        self.assertEqual(len(loaded.warnings), 1)
        load_agent(str(ROOT / "etc/agent.yaml"), environ={}, options={})

    def test_they_have_every_key_with_its_default(self):
        for name, words in (("gw.yaml", GATEWAY), ("agent.yaml", AGENT)):
            text = uncommented((ROOT / "etc" / name).read_text("utf-8"))
            found = set(paths_of(yaml.safe_load(text)))
            self.assertEqual(found, set(leaves(words.model)), name)
            loaded = loader_of(name)(
                name,
                environ={},
                options={},
                reader=lambda _, text=text: FileContent(text.encode(), 0o644),
            )
            self.assertEqual(loaded.config, words.model(), name)

    def test_their_examples_of_entries_load(self):
        for name in ("gw.yaml", "agent.yaml"):
            text = (ROOT / "etc" / name).read_text("utf-8")
            entries = re.findall(r"# (\w+): \[\]\n# +- (\{.*\})", text)
            self.assertEqual(len(entries), 1)
            for key, entry in entries:
                content = f"{key}: [{entry}]".encode()
                loader_of(name)(
                    name,
                    environ={},
                    options={},
                    reader=lambda _, content=content: FileContent(content, 0o644),
                )

    def test_example_secrets_are_refused(self):
        """No secret that can be copied from a page is accepted."""
        shipped = filter(Path.is_file, ROOT.glob("etc/**/*"))
        for path in [*shipped, *ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]:
            for text in A_SECRET.findall(path.read_text("utf-8")):
                self.assertIn(text, SHIPPED_SECRETS, path)


class MetricsTests(SynchronousTestCase):
    """The page names every metric."""

    def test_each_has_its_row(self):
        page = (ROOT / "docs/operations.md").read_text("utf-8")
        for name, meaning in CATALOGUE.items():
            full = name if meaning.bare else f"gotunnel_{name}"
            full += "_info" if meaning.kind == "info" else ""
            labels = ", ".join(f"`{label}`" for label in meaning.labels)
            row = f"| `{full}` | {meaning.kind} | {labels} | {meaning.text[:-1]} |"
            self.assertIn(row, page)
