"""The table of a stream's life, as a whole; its cells are tested by frames."""

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import ProtocolError
from gateway.mux.stream import (
    FIN_IS_RECEIVED,
    FIN_IS_SENT,
    NEXT,
    TAKES_DATA,
    Event,
    State,
    after,
)


class TableTests(SynchronousTestCase):
    """What holds for every row."""

    def test_every_state_leads_to_the_end_and_nothing_leads_out_of_it(self):
        """A reset is possible anywhere before."""
        for state in State:
            steps = {event for (start, event) in NEXT if start is state}
            if state is State.ENDED:
                self.assertEqual(steps, set())
            else:
                self.assertIs(after(state, Event.RESET), State.ENDED)

    def test_every_state_is_reached(self):
        """From the two in which streams begin."""
        reached = {State.OPENING, State.DIALING}
        for _ in State:
            reached |= {end for (start, _), end in NEXT.items() if start in reached}
        self.assertEqual(reached, set(State))

    def test_a_missing_step_is_a_protocol_error_in_words(self):
        """For all pairs that the table does not have."""
        for state in State:
            for event in Event:
                if (state, event) not in NEXT:
                    fault = self.assertRaises(ProtocolError, after, state, event)
                    self.assertEqual(fault.kind, "state")
                    self.assertEqual(
                        str(fault), f"{event.value} while the stream is {state.value}"
                    )

    def test_the_sets_agree_with_the_table(self):
        """A direction that is finished takes nothing more."""
        for state in FIN_IS_RECEIVED:
            self.assertNotIn((state, Event.FIN_RECEIVED), NEXT)
            self.assertNotIn(state, TAKES_DATA)
        for state in FIN_IS_SENT:
            self.assertNotIn((state, Event.FIN_SENT), NEXT)
        self.assertEqual(TAKES_DATA, {State.DIALING, State.OPEN, State.FS})
