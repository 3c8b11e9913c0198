"""A link and its streams are what the server knows them by."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gateway.interfaces import IArrivingLink, ILink, IStream
from tests.link.rig import LinkRig, legacy_gateway, negotiated_agent, negotiated_gateway


class InterfaceTests(SynchronousTestCase):
    """Every attribute and method is there, with the arguments that it must take."""

    def test_links_of_every_kind(self):
        """Also one that is not decided yet."""
        for rig in (LinkRig(gateway=True), negotiated_gateway(), legacy_gateway()):
            verifyObject(ILink, rig.link)
            verifyObject(IArrivingLink, rig.link)

    def test_streams_at_both_ends(self):
        """A visitor's and a target's."""
        verifyObject(IStream, negotiated_gateway().visit().stream)
        verifyObject(IStream, negotiated_agent().request().stream)

    def test_a_link_is_loaded_by_its_streams(self):
        """An end that opens and one that dials count alike."""
        for rig, begin in (
            (negotiated_gateway(), lambda rig: rig.visit()),
            (negotiated_agent(), lambda rig: rig.request()),
        ):
            self.assertEqual(rig.link.streams, 0)
            begin(rig)
            self.assertEqual(rig.link.streams, 1)
