"""What `gotunnel doctor` thinks of a machine."""

import os
import socket
from contextlib import closing
from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.findings import Verdict
from gateway.ops.holders import Holder, holder_of
from gateway.ops.names import judge_names
from gateway.ops.packet_filter import judge_filter
from gateway.ops.preflight import read_or_none
from gateway.ops.system import (
    Machine,
    judge_buffers,
    judge_clock,
    judge_descriptors,
    judge_disk,
    judge_memory,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
GOOD, MIND, BAD = Verdict.GOOD, Verdict.MIND, Verdict.BAD
MIB = 1 << 20


def machine(files=None, *, descriptors=100_000, free=1 << 40, clock=0):
    """A machine of the test's making."""
    return Machine(
        NOW, descriptors, (files or {}).get, lambda path: free, lambda: clock
    )


class JudgingCase(SynchronousTestCase):
    """Findings, of which what is wrong says what to do."""

    def verdicts(self, findings):
        found = list(findings)
        for one in found:
            self.assertEqual(one.verdict is GOOD, not one.advice, one)
        return [one.verdict for one in found]


class SystemTests(JudgingCase):
    """The system's own limits."""

    def test_descriptors(self):
        for descriptors, wanted, verdict in (
            (300, 100, GOOD),
            (200, 100, MIND),
            (256, 10_000, BAD),
            (100_000, 0, MIND),
        ):
            found = judge_descriptors(
                machine(descriptors=descriptors), "limits.x", wanted, each=2, pid=None
            )
            self.assertEqual(self.verdicts(found), [verdict])

    def test_descriptors_of_the_running_process_stand_above_ours(self):
        text = (
            "Limit  Soft  Hard  Units\nMax open files            256    4096  files\n"
        )
        around = machine({"/proc/7/limits": text})
        [found] = judge_descriptors(around, "limits.x", 1000, each=2, pid=7)
        self.assertEqual(found.verdict, BAD)
        self.assertIn("the running process 7 may open 256 files", found.what)
        [found] = judge_descriptors(around, "limits.x", 1000, each=2, pid=8)
        self.assertEqual(found.verdict, GOOD)

    def test_buffers(self):
        core, ipv4 = "/proc/sys/net/core/", "/proc/sys/net/ipv4/"
        files = {
            f"{core}rmem_max": "212992\n",
            f"{core}wmem_max": "4096\n",
            f"{core}somaxconn": "128\n",
            f"{ipv4}tcp_rmem": "4096\t131072\t6291456\n",
            f"{ipv4}tcp_wmem": "4096\t16384\t65536\n",
            f"{ipv4}tcp_mem": "1000 2000 3000\n",
            "/proc/net/sockstat": "sockets: used 9\nTCP: inuse 5 orphan 0 mem 1500\n",
        }
        found = list(judge_buffers(machine(files)))
        wanted = [GOOD, MIND, MIND, GOOD, MIND, MIND]
        self.assertEqual(self.verdicts(found), wanted)
        self.assertIn("net.core.wmem_max is 4096", found[1].what)
        self.assertEqual(found[1].wanted, "212992 or more")
        files["/proc/net/sockstat"] = "TCP: inuse 5 mem 2500"
        self.assertEqual(self.verdicts(judge_buffers(machine(files)))[-1], BAD)
        self.assertEqual(list(judge_buffers(machine())), [])  # another system

    def test_disk(self):
        for free, verdict in ((2 << 30, GOOD), (500 * MIB, MIND), (MIB, BAD)):
            found = judge_disk(machine(free=free), "the database", "/no/such/x.db")
            self.assertEqual(self.verdicts(found), [verdict])

    def test_memory(self):
        for available, limit, verdict in (
            (512, 256, GOOD),
            (200, 256, MIND),
            (512, 0, MIND),
            (20, 256, BAD),
        ):
            files = {
                "/proc/meminfo": f"MemTotal: 9 kB\nMemAvailable: {available << 10} kB"
            }
            found = judge_memory(machine(files), limit * MIB)
            self.assertEqual(self.verdicts(found), [verdict], available)

    def test_memory_of_a_control_group(self):
        files = {
            "/proc/meminfo": f"MemAvailable: {1 << 20} kB",
            "/sys/fs/cgroup/memory.max": f"{300 * MIB}\n",
            "/sys/fs/cgroup/memory.current": f"{200 * MIB}\n",
        }
        [found] = judge_memory(machine(files), 256 * MIB)
        self.assertEqual(found.verdict, MIND)
        self.assertIn("100 MiB of memory are available", found.what)

    def test_who_keeps_the_clock(self):
        for state, verdict in ((0, GOOD), (5, MIND), (None, MIND)):
            found = judge_clock(machine(clock=state))
            self.assertEqual(self.verdicts(found), [verdict])
        real = Machine(NOW, 1, read_or_none)
        self.assertEqual(len(list(judge_clock(real))), 1)


class HolderTests(SynchronousTestCase):
    """Who listens."""

    def test_a_port_of_this_process(self):
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            port = server.getsockname()[1]
            holder = holder_of(port, read_or_none)
            assert holder is not None
            self.assertEqual(holder.pid, os.getpid())
            self.assertFalse(holder.is_ours)
        self.assertIsNone(holder_of(port, read_or_none))

    def test_what_is_ours(self):
        for command, ours in (
            ("python /venv/bin/twistd -n gotunnel --config x", True),
            ("python /venv/bin/gotunnel server", True),
            ("nginx: worker process", False),
            ("/srv/gotunnel/bin/python -m http.server", False),
        ):
            self.assertEqual(Holder(7, command).is_ours, ours, command)


class NameTests(JudgingCase):
    """Names of hosts."""

    def test_names_that_lead_somewhere_and_nowhere(self):
        found = list(judge_names("the target", ["localhost", "nowhere.invalid"]))
        self.assertEqual(self.verdicts(found), [GOOD, BAD])
        self.assertIn("the target nowhere.invalid: ", found[1].what)


IPTABLES = """-P INPUT {policy}
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 9000 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 10000:10100 -j {verdict}
"""
NFTABLES = """table inet gotunnel {
    chain input {
        type filter hook input priority filter; policy drop;
        tcp dport 9000 accept
        tcp dport { 22, 10000-10100 } accept
    }
    chain output {
        type filter hook output priority filter; policy accept;
    }
}
"""
PORTS = [("tunnel.listen_port", 9000, 9000), ("port_range", 10000, 10100)]


class FilterTests(JudgingCase):
    """The packet filter of this machine."""

    def filtered(self, *ports, nft=None, iptables=None):
        said = {"nft": nft, "iptables": iptables}
        return judge_filter(ports or PORTS, lambda command: said[command[0]])

    def test_iptables(self):
        for policy, verdict, wanted in (
            ("DROP", "ACCEPT", [GOOD, GOOD]),
            ("ACCEPT", "DROP", [GOOD, BAD]),
        ):
            text = IPTABLES.format(policy=policy, verdict=verdict)
            self.assertEqual(self.verdicts(self.filtered(iptables=text)), wanted)
        text = IPTABLES.format(policy="DROP", verdict="ACCEPT")
        wider = self.filtered(("port_range", 10000, 10200), iptables=text)
        self.assertEqual(self.verdicts(wider), [BAD])
        open_to_all = self.filtered(iptables="-P INPUT ACCEPT\n")
        self.assertEqual(self.verdicts(open_to_all), [GOOD, GOOD])

    def test_nftables(self):
        self.assertEqual(self.verdicts(self.filtered(nft=NFTABLES)), [GOOD, GOOD])
        other = self.filtered(("port_range", 443, 443), nft=NFTABLES)
        self.assertEqual(self.verdicts(other), [BAD])
        self.assertEqual(self.verdicts(self.filtered(nft="")), [GOOD, GOOD])

    def test_what_cannot_be_seen_is_said(self):
        [found] = self.filtered()
        self.assertEqual(found.verdict, MIND)
        self.assertIn("could not be seen", found.what)
