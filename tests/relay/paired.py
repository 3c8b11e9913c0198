"""A visitor whose target is dialled by the test."""

from argparse import Namespace
from typing import Any, cast

from gateway.net.sockets import is_bound
from gateway.policy.hops import Hops
from gateway.relay.pair import DirectTarget
from gateway.relay.upstream import DirectUpstream
from gateway.relay.visitor import Visitor

REQUEST: Any = Namespace(
    mapping=Namespace(targets=[Namespace(host="10.0.0.1", port=80)]), hops=0
)


class PairedVisitor(Visitor):
    """Tells the test what becomes of it.

    Args:
        dial: connects the factory of its first argument, or calls its second one.
        linger: as a `Visitor` needs it.
        joined: called once if the target is reached.
        ended: called once with the reason when no socket is left.
    """

    def __init__(self, dial, linger, joined, ended):
        super().__init__(linger)
        self.upstream = DirectUpstream(
            cast(
                Any,
                Namespace(
                    reach=lambda host, port, factory, failed, dialled: dial(
                        factory, failed
                    )
                ),
            ),
            Hops(is_bound),
            linger,
        )
        self.joined = joined
        self.ended = ended
        self.why = ""

    def connectionMade(self):
        self.transport.pauseProducing()
        self.ask(self.upstream, REQUEST)

    def reached(self):
        self.joined()

    def missed(self, stage, why):
        self.why = why

    def parted(self, why, *, whole):
        self.why = why

    def left(self):
        self.ended(self.why)

    def close(self, why):
        if self.flow is None or self.gone:
            self.abort(why)
        else:
            cast(DirectTarget, self.flow).close(why)
