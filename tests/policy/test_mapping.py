"""What the parts that a request leaves out become."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.addresses import PORTS
from gateway.policy.mapping import (
    UNSET,
    Mapping,
    MappingChanges,
    MappingWish,
    Target,
    Unset,
    resolve_target_port,
    wants_tunnel,
)


class WantsTunnelTests(SynchronousTestCase):
    """Direct or through an agent."""

    def test_the_callers_word_wins(self):
        for use_tunnel in (True, False):
            wish = MappingWish(
                port=1, use_tunnel=use_tunnel, target_host="host", agent="a"
            )
            for enabled in (True, False):
                self.assertIs(wants_tunnel(wish, tunnel_enabled=enabled), use_tunnel)

    def test_naming_an_agent_is_such_a_word(self):
        wish = MappingWish(port=1, target_host="host", agent="a")
        self.assertTrue(wants_tunnel(wish, tunnel_enabled=False))

    def test_a_target_host_means_direct(self):
        wish = MappingWish(port=1, target_host="host")
        self.assertFalse(wants_tunnel(wish, tunnel_enabled=True))

    def test_no_target_host_means_the_tunnel_if_it_is_on(self):
        for host in (None, ""):
            wish = MappingWish(port=1, target_host=host)
            self.assertTrue(wants_tunnel(wish, tunnel_enabled=True))
            self.assertFalse(wants_tunnel(wish, tunnel_enabled=False))


class TargetPortTests(SynchronousTestCase):
    """The target port that a request leaves out."""

    def target(self, port, *, use_tunnel=True, offset=10000, explicit=None):
        wish = MappingWish(port=port, target_port=explicit)
        return resolve_target_port(wish, use_tunnel=use_tunnel, offset=offset)

    def test_a_tunnel_takes_the_public_port_less_the_offset(self):
        self.assertEqual(self.target(10022), 22)

    def test_where_that_is_no_port_it_keeps_the_public_port(self):
        self.assertEqual(self.target(8080), 8080)
        self.assertEqual(self.target(10000), 10000)
        self.assertEqual(self.target(10001), 1)

    def test_direct_keeps_the_public_port(self):
        self.assertEqual(self.target(10022, use_tunnel=False), 10022)

    def test_an_explicit_port_wins(self):
        self.assertEqual(self.target(10022, explicit=2222), 2222)

    @given(
        st.integers(1, 65535),
        st.integers(0, 65534),
        st.booleans(),
        st.none() | st.integers(1, 65535),
    )
    def test_the_result_is_always_a_port(self, port, offset, use_tunnel, explicit):
        target = self.target(
            port, use_tunnel=use_tunnel, offset=offset, explicit=explicit
        )
        self.assertIn(target, PORTS)
        self.assertIn(target, {port, port - offset, explicit})


class ValueTests(SynchronousTestCase):
    """The values themselves."""

    def test_mappings_do_not_change(self):
        mapping = Mapping(
            port=1,
            targets=(Target(host="", port=2, use_tunnel=True),),
            created_at=0,
            updated_at=0,
        )
        self.assertEqual((mapping.protocol, mapping.agent), ("tcp", None))
        self.assertRaises(AttributeError, setattr, mapping, "port", 2)

    def test_changes_keep_what_they_do_not_name(self):
        changes = MappingChanges(agent=None)
        self.assertIsNone(changes.agent)
        self.assertIs(changes.target_host, UNSET)

    def test_unset_is_seen_in_logs(self):
        self.assertIsInstance(UNSET, Unset)
        self.assertEqual(repr(UNSET), "UNSET")
