"""`gotunnel map export` and `map apply`: mappings as a file."""

import json
from pathlib import Path

from tests.cli.cases import GatewayCase
from tests.cli.fake_gateway import FakeMappings, row


class FileCase(GatewayCase):
    """Some mappings, and a file."""

    def setUp(self):
        super().setUp()
        self.file = self.folder / "maps.yaml"
        self.mappings = self.gateway.mappings = FakeMappings(
            row(10022, target_port=22, name="ssh"),
            row(10080, target_host="web", use_tunnel=False, labels={"a": "b"}),
            row(10090, agent="home", source="agent"),
        )

    def declare(self, *ports):
        """Write a file that declares nothing but these ports."""
        lines = [f"- {{port: {port}}}" for port in ports]
        self.file.write_text("\n".join(["mappings:", *lines]) if ports else "{}")


class ExportTests(FileCase):
    """`map export`."""

    def test_standard_output_or_a_file(self):
        output = self.run_command("map", "export").stdout
        self.assertIn("- port: 10022\n", output)
        self.assertNotIn("10090", output)
        result = self.run_command("map", "export", self.file)
        self.assertEqual(self.file.read_text(), output)
        self.assertEqual(result.stdout, "")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["maps.yaml"])

    def test_json_says_the_same(self):
        output = self.run_command("map", "export", "--json").stdout
        ports = [mapping["port"] for mapping in json.loads(output)["mappings"]]
        self.assertEqual(ports, [10022, 10080])

    def test_a_device_is_written_to_and_not_replaced(self):
        self.run_command("map", "export", "/dev/null")
        self.assertTrue(Path("/dev/null").is_char_device())

    def test_a_folder_that_is_not_there(self):
        result = self.run_command("map", "export", self.folder / "x" / "y", expect=1)
        self.assertIn("No such file or directory", result.stderr)


class ApplyTests(FileCase):
    """`map apply`."""

    def apply(self, *words, **kwargs):
        return self.run_command("map", "apply", self.file, *words, **kwargs)

    def ports(self):
        return [mapping.port for mapping in self.mappings.list()]

    def test_an_export_makes_no_difference(self):
        self.run_command("map", "export", self.file)
        self.assertEqual(self.apply().stdout, "no difference\n")
        self.apply("--dry-run")
        self.assertEqual(self.mappings.calls, [])

    def test_the_difference_is_shown_and_asked_about(self):
        self.declare(10022, 10033)
        result = self.apply(typed="y\n")
        self.assertEqual(
            result.stdout.splitlines(),
            [
                "-  10080: to web:80",
                "~  10022: name ssh -> (none)",
                "+  10033: to agent:(as the gateway chooses)",
                "3 applied, 0 failed",
            ],
        )
        self.assertIn("apply 3 steps?", result.stderr)
        self.assertEqual(self.ports(), [10022, 10033, 10090])

    def test_no_means_no(self):
        self.declare(10033)
        for typed in ("n\n", "\n", ""):
            self.apply(typed=typed, expect=1)
        self.assertEqual(self.mappings.calls, [])

    def test_a_dry_run_tells_by_its_exit_code(self):
        self.declare(10033)
        for word in ("--dry-run", "--check"):
            self.assertIn("+  10033", self.apply(word, expect=4).stdout)
        self.assertEqual(self.mappings.calls, [])

    def test_nothing_is_removed_without_pruning(self):
        self.declare(10033)
        self.apply("--yes", "--no-prune")
        self.assertEqual(self.ports(), [10022, 10033, 10080, 10090])

    def test_one_failure_does_not_stop_the_others(self):
        self.file.write_text(
            "mappings:\n"
            "- {port: 10033}\n"
            "- {port: 10044}\n"
            "- {port: 10080, use_tunnel: false}\n"
        )
        self.mappings.refuses = lambda body: body.port == 10033
        result = self.apply("--yes", expect=1)
        self.assertIn("failed: 10033: port 10033 needs privileges", result.stderr)
        self.assertIn("failed: 10080: bad target", result.stderr)
        self.assertIn("2 applied, 2 failed", result.stdout)
        self.assertEqual(self.ports(), [10044, 10080, 10090])

    def test_an_agents_port_is_pointed_out(self):
        self.declare(10090)
        result = self.apply("--yes", "--no-prune", expect=1)
        self.assertIn("(taken: agent home asked for this port)", result.stdout)
        self.assertEqual(self.mappings.rows["tcp", 10090].source, "agent")

    def test_another_address_means_remove_and_create(self):
        self.file.write_text(
            "mappings: [{port: 10022, target_port: 22, name: ssh, listen: '::1'}]"
        )
        result = self.apply("--yes", "--no-prune")
        self.assertIn("-+ 10022: listen (none) -> ::1", result.stdout)
        self.assertEqual(self.mappings.calls, [("remove", 10022), ("create", 10022)])
        self.assertEqual(self.mappings.rows["tcp", 10022].listen, "::1")

    def test_a_mapping_that_cannot_be_replaced_comes_back(self):
        self.file.write_text("mappings: [{port: 10022, listen: '::1'}]")
        before = self.mappings.rows["tcp", 10022]
        self.mappings.refuses = lambda body: bool(body.listen)
        result = self.apply("--yes", "--no-prune", expect=1)
        self.assertIn("the old mapping is back in its place", result.stderr)
        after = self.mappings.rows["tcp", 10022]
        self.assertEqual(after.model_copy(update={"id": before.id}), before)

    def test_a_mapping_that_is_lost_is_said_to_be(self):
        self.file.write_text("mappings: [{port: 10022, listen: '::1'}]")
        self.mappings.refuses = lambda body: True
        result = self.apply("--yes", "--no-prune", expect=1)
        self.assertIn("cannot be put back", result.stderr)

    def test_json_for_scripts(self):
        self.declare(10022, 10033)
        planned = json.loads(self.apply("--json", "--dry-run", expect=4).stdout)
        self.mappings.refuses = lambda body: body.port == 10033
        done = json.loads(self.apply("--json", "--yes", expect=1).stdout)
        actions = ["remove", "change", "add"]
        for found in (planned, done):
            self.assertEqual([step["action"] for step in found["steps"]], actions)
        self.assertEqual({step["error"] for step in planned["steps"]}, {None})
        self.assertIn("privileges", done["steps"][2]["error"])
        self.assertEqual(
            done["steps"][1]["changes"],
            [{"field": "name", "before": "ssh", "after": ""}],
        )

    def test_standard_input(self):
        result = self.run_command(
            "map", "apply", "-", "--check", typed="mappings: []", expect=4
        )
        self.assertIn("-  10022", result.stdout)

    def test_a_file_that_cannot_be_used(self):
        self.declare()
        self.assertIn("must hold `mappings:`", self.apply(expect=1).stderr)
        self.file.write_bytes(b"\xff")
        self.assertIn("not UTF-8", self.apply(expect=1).stderr)
        self.file.unlink()
        self.assertIn("No such file", self.apply(expect=1).stderr)

    def test_a_gateway_that_goes_away_ends_it(self):
        self.declare(10033, 10044)
        self.gateway.canned["/api/mapping/create"] = (200, b"gone")
        result = self.apply("--yes", "--no-prune", expect=3)
        self.assertIn("stopped at port 10033", result.stderr)
