"""How many visitors there are of each address."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.policy.visitors import Addresses


class AddressesTests(SynchronousTestCase):
    """Counted by address, or by the network that an IPv6 address is in."""

    def test_an_address_is_full_at_its_limit_and_others_are_not(self):
        places = Addresses(2)
        for _ in range(2):
            places.enter("192.0.2.1")
        self.assertTrue(places.full("192.0.2.1"))
        self.assertFalse(places.full("192.0.2.2"))

    def test_addresses_of_one_ipv6_network_share_their_places(self):
        places = Addresses(2)
        places.enter("2001:db8:1:2::1")
        places.enter("2001:db8:1:2::2")
        self.assertTrue(places.full("2001:db8:1:2:ffff::3"))
        self.assertFalse(places.full("2001:db8:1:3::1"))
        places.leave("2001:db8:1:2::2")
        places.leave("2001:db8:1:2::1")
        self.assertEqual(0, len(places))

    def test_without_a_limit_nobody_is_full(self):
        places = Addresses(0)
        places.enter("192.0.2.1")
        self.assertFalse(places.full("192.0.2.1"))
