"""Twisted's own tests of a transport, if what they need is installed."""

from importlib.util import find_spec

from twisted.trial.unittest import SynchronousTestCase

if find_spec("hamcrest"):
    from tests.net.twisted_cases import (  # noqa: F401 - trial finds them here
        AbortTests,
        BuggyHalfCloseTests,
        ClientTests,
        ConnectionTests,
        FactoryTests,
        GatheredAbortTests,
        HalfCloseTests,
        HalfCloseWithoutNoticeTests,
        LargeBufferTests,
        ReactorAbortTests,
        ReactorClientTests,
        ReactorConnectionTests,
        SequenceTests,
        WriteTests,
    )
else:

    class TwistedTests(SynchronousTestCase):
        """Says that the tests were not run."""

        def test_twisted(self):
            self.skipTest("Twisted's own tests need PyHamcrest")
