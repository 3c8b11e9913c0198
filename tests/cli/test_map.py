"""`gotunnel map`: one mapping at a time, over HTTP."""

import json

from gateway.api.answers import AgentRow
from tests.cli.cases import GatewayCase
from tests.cli.fake_gateway import row

AGENT = AgentRow(
    name="home",
    instance="x",
    negotiated=True,
    links=1,
    streams=2,
    rtt_seconds=0.0123,
    connected_at="2026-01-02 03:04:05",
    connected_at_unix=1767323045.0,
    address="192.0.2.7",
    software="gotunnel 0.1.0",
    links_total=1,
    connections_total=4,
    bytes_sent=0,
    bytes_received=0,
)


class ListTests(GatewayCase):
    """`map list` and `map show`."""

    def test_rows_are_aligned_in_a_pipe(self):
        """Plain text, no rules, no colours; columns begin at the same place."""
        for mapping in (
            row(10022, target_port=22, name="ssh"),
            row(10080, target_host="::1", use_tunnel=False, labels={"a": "b"}),
            row(10090, agent="home", source="agent"),
            row(10091, state="error", error="in use"),
            row(
                10092,
                state="unreachable",
                error="agent x was never seen here",
                unreachable_cause="agent_absent",
                unreachable_since_unix=1767323045,
            ),
        ):
            self.gateway.mappings.rows["tcp", mapping.port] = mapping
        lines = self.run_command("map", "list").stdout.splitlines()
        self.assertEqual(len(lines), 6)
        self.assertNotIn("\x1b", "".join(lines))
        column = lines[0].index("TARGET")
        self.assertTrue(lines[1][column:].startswith("agent:22 "))
        self.assertTrue(lines[2][column:].startswith("[::1]:80 "))
        self.assertIn("direct", lines[2])
        self.assertIn("a=b", lines[2])
        self.assertIn("agent home (its own)", lines[3])
        self.assertIn("error: in use", lines[4])
        self.assertIn(
            "unreachable since 2026-01-02 03:04:05 UTC: agent x was never seen here",
            lines[5],
        )

    def test_no_mappings(self):
        self.assertIn("no mappings", self.run_command("map", "list").stdout)

    def test_json_is_what_the_api_says(self):
        self.gateway.mappings.rows["tcp", 10022] = row(10022, name="größe")
        output = self.run_command("map", "list", "--json").stdout
        self.assertTrue(output.isascii())
        found = json.loads(output)
        self.assertEqual(found["count"], 1)
        self.assertEqual(found["mappings"][0]["name"], "größe")

    def test_show_one(self):
        self.gateway.mappings.rows["tcp", 10022] = row(10022, name="ssh")
        output = self.run_command("map", "show", 10022).stdout
        self.assertIn("name         ssh\n", output)
        self.assertIn("listen       all interfaces\n", output)
        shown = self.run_command("map", "show", 10022, "--json").stdout
        self.assertEqual(json.loads(shown)["source_port"], 10022)

    def test_show_says_what_failed_beside_what_was_turned_away(self):
        self.gateway.mappings.rows["tcp", 10022] = row(
            10022, expected=True, rejected={"banned": 2}, failed={"unreached": 3}
        )
        shown = self.run_command("map", "show", 10022).stdout
        for words in ("expected     to serve", "banned=2", "failed       unreached=3"):
            self.assertIn(words, shown)

    def test_text_of_others_cannot_move_the_cursor(self):
        """Names come from whoever may create mappings or run an agent."""
        self.gateway.mappings.rows["tcp", 10022] = row(10022, name="a\x1b[2Jb\u202ec")
        for words in (["list"], ["show", 10022]):
            output = self.run_command("map", *words).stdout
            self.assertNotIn("\x1b", output)
            self.assertNotIn("\u202e", output)
            self.assertIn("a\\x1b[2Jb\\u202ec", output)

    def test_a_missing_mapping_is_a_failure(self):
        result = self.run_command("map", "show", 10022, expect=1)
        self.assertEqual(result.stderr, "Error: no mapping on port 10022\n")


class AddTests(GatewayCase):
    """`map add`."""

    def added(self, *words):
        """Return the one mapping that an addition makes."""
        output = self.run_command("map", "add", *words).stdout
        ((_, made),) = self.gateway.mappings.rows.items()
        self.gateway.mappings.rows.clear()
        return made, output

    def test_a_port_is_enough(self):
        made, output = self.added(10022)
        self.assertEqual((made.target_port, made.use_tunnel), (22, True))
        self.assertIn("port 10022 leads to agent:22 (tunnel)\n", output)

    def test_an_agent_that_is_absent_is_said(self):
        """Also beside another agent, which would not serve."""
        for words, agents, warning in (
            ([], [], "no agent that would serve it (default, or the only one) is"),
            (["--agent", "office"], [AGENT], "no agent office is"),
            (["--json", "--agent", "office"], [], "no agent office is"),
            ([], [AGENT], ""),
            (["--agent", "home"], [AGENT], ""),
            (["--target", "web:80"], [], ""),
        ):
            self.gateway.agents = agents
            said = self.run_command("map", "add", 10022, *words).stderr
            self.assertTrue(said.startswith(warning) and bool(said) == bool(warning))
            if warning:
                self.assertIn(" connected; visitors are turned away until it is", said)
            again = self.run_command("map", "update", 10022, "--name", "x")
            self.assertEqual(again.stderr, said)
            self.gateway.mappings.rows.clear()

    def test_port_0_prints_the_port_it_got(self):
        made, output = self.added(0, "--target", "db:5432")
        self.assertEqual(made.port, 10000)
        self.assertIn("port 10000 leads to db:5432 (direct)\n", output)

    def test_every_form_of_a_target(self):
        for words, host, port in (
            (["--target", "db:5432"], "db", 5432),
            (["--target", "[::1]:53"], "::1", 53),
            (["--target", "192.0.2.1"], "192.0.2.1", 10022),
            (["--target", "db", "--target-port", 22], "db", 22),
            (["--target", ":2222"], "", 2222),
            (["--target", "2222"], "", 2222),
            (["--target-port", 2222], "", 2222),
        ):
            made, _ = self.added(10022, *words)
            self.assertEqual((made.target_host, made.target_port), (host, port), words)

    def test_everything_else_arrives_too(self):
        words = (
            "--tunnel --target web:80 --agent home --name Blog --listen ::1 --expected"
        )
        made, _ = self.added(10022, *words.split(), "--label", "a=b", "--label", "c=")
        self.assertTrue(made.use_tunnel and made.expected)
        self.assertEqual((made.agent, made.name, made.listen), ("home", "Blog", "::1"))
        self.assertEqual(made.labels, {"a": "b", "c": ""})

    def test_json_has_the_row(self):
        _, output = self.added(10022, "--json")
        self.assertIs(json.loads(output)["tunnel_connected"], False)

    def test_refusals_are_the_gateways_words(self):
        self.gateway.mappings.rows["tcp", 10022] = row(10022)
        result = self.run_command("map", "add", 10022, expect=1)
        self.assertIn("port 10022 is taken", result.stderr)
        chinese = self.run_command("map", "add", 10022, expect=1, env={"LANG": "zh_CN"})
        self.assertIn("端口已被占用", chinese.stderr)

    def test_wrong_words_are_usage_errors(self):
        for words, message in (
            ([70000], "'PORT': '70000' must be a number 0..65535"),
            (["x"], "'PORT': 'x' must be a number 0..65535"),
            (["9" * 5000], "must be a number 0..65535"),
            ([10022, "--target-port", 0], "'0' must be a number 1..65535"),
            ([10022, "--target", "a:b"], "'b' is not a port from 1 to 65535"),
            ([10022, "--target", ""], "the host must not be empty"),
            ([10022, "--target", "300.1.1.1:80"], "'300.1.1.1' is not an"),
            ([10022, "--target", "db:80", "--target-port", 81], "names port 80"),
            ([10022, "--label", "a"], "must be KEY=TEXT"),
            ([10022, "--label", "a=b", "--label", "a=c"], "one key twice"),
        ):
            result = self.run_command("map", "add", *words, expect=2)
            self.assertIn(message, result.stderr)
        self.assertEqual(self.gateway.mappings.calls, [])


class ReloadTests(GatewayCase):
    """`map reload`."""

    def test_it_is_read_anew(self):
        self.gateway.mappings.rows["tcp", 10022] = row(10022)
        done = self.run_command("map", "reload", 10022)
        self.assertIn("port 10022 is listening", done.stdout)
        done = self.run_command("map", "reload", 10022, "--json")
        self.assertIn('"source_port": 10022', done.stdout)


class UpdateTests(GatewayCase):
    """`map update`."""

    def setUp(self):
        super().setUp()
        self.before = row(10022, agent="home", name="ssh", labels={"a": "b"})
        self.gateway.mappings.rows["tcp", 10022] = self.before

    def updated(self, *words):
        self.run_command("map", "update", 10022, *words)
        return self.gateway.mappings.rows["tcp", 10022]

    def test_what_is_not_named_stays(self):
        self.assertEqual(
            self.updated("--name", "new"),
            self.before.model_copy(update={"name": "new"}),
        )

    def test_all_that_can_change(self):
        after = self.updated("--target", "db:1", "--direct", "--agent", "office")
        self.assertEqual((after.target_host, after.target_port), ("db", 1))
        self.assertEqual((after.use_tunnel, after.agent), (False, "office"))

    def test_a_mapping_can_be_expected_to_serve(self):
        self.assertTrue(self.updated("--expected").expected)
        self.assertTrue(self.updated("--name", "x").expected)
        self.assertFalse(self.updated("--not-expected").expected)

    def test_labels_replace_the_old_ones(self):
        self.assertEqual(self.updated("--label", "c=d").labels, {"c": "d"})
        self.assertEqual(self.updated("--no-labels").labels, {})

    def test_an_agent_can_be_let_go(self):
        self.assertIsNone(self.updated("--any-agent").agent)

    def test_back_to_the_agents_own_machine(self):
        self.assertEqual(self.updated("--target", "db:1").target_host, "db")
        after = self.updated("--target", ":22")
        self.assertEqual((after.target_host, after.target_port), ("", 22))

    def test_a_name_can_be_emptied(self):
        self.assertEqual(self.updated("--name", "").name, "")

    def test_contradictions_and_nothing_are_usage_errors(self):
        for words in (
            [],
            ["--agent", "x", "--any-agent"],
            ["--label", "a=b", "--no-labels"],
        ):
            self.run_command("map", "update", 10022, *words, expect=2)
        self.assertEqual(self.gateway.mappings.calls, [])

    def test_an_agents_own_mapping_is_not_ours(self):
        own = row(10090, agent="home", source="agent")
        self.gateway.mappings.rows["tcp", 10090] = own
        result = self.run_command("map", "update", 10090, "--name", "x", expect=1)
        self.assertIn("belongs to agent 'home'", result.stderr)


class RemoveTests(GatewayCase):
    """`map remove`."""

    def test_the_mapping_is_gone(self):
        self.gateway.mappings.rows["tcp", 10022] = row(10022)
        output = self.run_command("map", "remove", 10022, "--drain", 2.5).stdout
        self.assertIn("port 10022 is closed", output)
        self.assertEqual(self.gateway.mappings.rows, {})
        self.assertEqual(self.gateway.drain, 2.5)

    def test_json(self):
        self.gateway.mappings.rows["tcp", 10022] = row(10022)
        output = self.run_command("map", "remove", 10022, "--json").stdout
        self.assertEqual(json.loads(output), {"port": 10022})
        self.assertEqual(self.gateway.drain, 0)

    def test_a_time_that_is_no_number_is_a_usage_error(self):
        self.run_command("map", "remove", 10022, "--drain", "nan", expect=2)
        self.assertEqual(self.gateway.mappings.calls, [])

    def test_what_is_not_there_cannot_be_removed(self):
        self.run_command("map", "remove", 10022, expect=1)
