"""Credit is neither lost nor minted."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CreditError
from gateway.mux.credit import UNLIMITED, ReceiveCredit, SendCredit

WINDOW = 100
LARGEST = (1 << 31) - 1


class CreditMachine(RuleBasedStateMachine):
    """Both ends of one direction and the bytes under way between them.

    The model is five running totals, kept apart from the code under test.
    """

    def __init__(self):
        super().__init__()
        self.sender = SendCredit(WINDOW, 60)
        self.receiver = ReceiveCredit(WINDOW)
        self.sent = self.arrived = self.read = 0
        self.announced = self.granted = 0
        self.smallest_grant = WINDOW

    @precondition(lambda self: self.sender.left > 0)
    @rule(choice=st.data())
    def send(self, choice):
        amount = choice.draw(st.integers(1, self.sender.left))
        self.sender.left -= amount
        self.sent += amount

    @precondition(lambda self: self.arrived < self.sent)
    @rule(choice=st.data())
    def arrive(self, choice):
        amount = choice.draw(st.integers(1, self.sent - self.arrived))
        self.receiver.charge(amount)
        self.arrived += amount

    @precondition(lambda self: self.read < self.arrived)
    @rule(choice=st.data())
    def leave_for_the_kernel(self, choice):
        self.read += choice.draw(st.integers(1, self.arrived - self.read))
        self._repay()

    @rule()
    def ask_again(self):
        self._repay()

    def _repay(self):
        due = self.receiver.due(self.arrived - self.read)
        self.announced += due
        if due:
            self.smallest_grant = min(self.smallest_grant, due)

    @precondition(lambda self: self.granted < self.announced)
    @rule()
    def grant(self):
        self.sender.grant(self.announced - self.granted)
        self.granted = self.announced

    @invariant()
    def unread_bytes_fit_the_window(self):
        assert self.sent - self.read <= WINDOW

    @invariant()
    def only_read_bytes_are_paid_for(self):
        assert self.announced <= self.read

    @invariant()
    def grants_are_half_a_window_at_least(self):
        assert self.smallest_grant * 2 >= WINDOW

    @invariant()
    def less_than_half_a_window_stays_unpaid(self):
        assert (self.read - self.announced) * 2 < WINDOW

    @invariant()
    def an_idle_stream_can_send(self):
        if self.sent == self.read and self.granted == self.announced:
            assert self.sender.left > WINDOW // 2

    @invariant()
    def a_frame_is_a_quarter_of_the_largest_credit(self):
        assert self.sender.frame_limit == WINDOW // 4


class CreditTests(SynchronousTestCase):
    """Trial collects `test_*` methods only, so the machine is run from one."""

    def test_credit_is_neither_lost_nor_minted(self):
        """The stateful model."""
        run_state_machine_as_test(CreditMachine)


class SendCreditTests(SynchronousTestCase):
    """What the peer lets us send."""

    def test_a_sum_above_the_largest_is_an_error(self):
        """2^31-1 itself is not."""
        credit = SendCredit(16384, 60)
        credit.grant(LARGEST - 16384)
        self.assertEqual(credit.left, LARGEST)
        fault = self.assertRaises(CreditError, credit.grant, 1)
        self.assertEqual(fault.kind, "credit")
        self.assertEqual(credit.left, LARGEST)

    def test_spent_credit_makes_room_for_more(self):
        """Only the sum counts."""
        credit = SendCredit(LARGEST, 60)
        credit.left -= 1000
        credit.grant(1000)
        self.assertEqual(credit.left, LARGEST)

    def test_a_frame_is_a_quarter_of_the_largest_credit_so_far(self):
        """And never longer than the peer accepts."""
        credit = SendCredit(16384, 10_000)
        self.assertEqual(credit.frame_limit, 4096)
        credit.left -= 16384
        credit.grant(20_000)
        self.assertEqual(credit.frame_limit, 5000)
        credit.left -= 19_000
        credit.grant(1)
        self.assertEqual(credit.frame_limit, 5000)
        credit.grant(100_000)
        self.assertEqual(credit.frame_limit, 10_000)

    def test_a_frame_is_one_byte_at_least(self):
        """However small the credit."""
        credit = SendCredit(0, 4096)
        self.assertEqual(credit.frame_limit, 1)
        credit.grant(3)
        self.assertEqual(credit.frame_limit, 1)


class ReceiveCreditTests(SynchronousTestCase):
    """What we let the peer send."""

    def test_an_overrun_is_an_error(self):
        """By one byte."""
        credit = ReceiveCredit(WINDOW)
        credit.charge(60)
        fault = self.assertRaises(CreditError, credit.charge, 41)
        self.assertEqual(str(fault), "41 bytes with a credit of 40")
        credit.charge(40)
        self.assertEqual(credit.unspent, 0)

    def test_half_a_window_is_due(self):
        """One byte less is not."""
        credit = ReceiveCredit(WINDOW)
        credit.charge(WINDOW)
        self.assertEqual(credit.due(held=51), 0)
        self.assertEqual(credit.due(held=50), 50)
        self.assertEqual(credit.due(held=50), 0)

    def test_held_bytes_are_not_paid_for(self):
        """They are in this process's memory."""
        credit = ReceiveCredit(WINDOW)
        credit.charge(WINDOW)
        self.assertEqual(credit.due(held=WINDOW), 0)
        self.assertEqual(credit.due(held=0), WINDOW)

    def test_a_legacy_stream_never_runs_out(self):
        """Its credit is larger than any traffic."""
        credit = ReceiveCredit(UNLIMITED)
        credit.charge(1 << 50)
        self.assertEqual(credit.due(0), 0)


class GrowingTests(SynchronousTestCase):
    """Windows that are too small for their path."""

    def setUp(self):
        self.credit = ReceiveCredit(WINDOW, now=10.0)

    def spend(self, amount):
        self.credit.charge(amount)

    def wanted(self, *, held=0, now, round_trip, most=0):
        return self.credit.wanted(held, now, round_trip, most)

    def test_a_window_used_up_within_a_round_trip_is_too_small(self):
        self.spend(WINDOW)
        self.assertEqual(self.wanted(now=10.09, round_trip=0.05), 2 * WINDOW)
        self.assertEqual(self.wanted(now=10.11, round_trip=0.05), WINDOW)

    def test_half_of_it_may_take_half_the_time(self):
        self.spend(WINDOW // 2)
        self.assertEqual(self.wanted(now=10.04, round_trip=0.05), 2 * WINDOW)
        self.assertEqual(self.wanted(now=10.06, round_trip=0.05), WINDOW)

    def test_a_reader_that_does_not_keep_up_needs_no_larger_one(self):
        self.spend(WINDOW)
        self.assertEqual(self.wanted(held=25, now=10.0, round_trip=1.0), 2 * WINDOW)
        self.assertEqual(self.wanted(held=26, now=10.0, round_trip=1.0), WINDOW)

    @given(
        st.integers(0, WINDOW),
        st.integers(0, WINDOW),
        st.floats(0, 2),
        st.floats(0, 1),
        st.integers(0, 100 * WINDOW),
    )
    def test_growth_is_bounded(self, spent, held, seconds, round_trip, most):
        """Never by more than eight times, nor beyond what may more than double."""
        credit = ReceiveCredit(WINDOW, now=10.0)
        credit.charge(spent)
        wanted = credit.wanted(min(held, spent), 10.0 + seconds, round_trip, most)
        self.assertIn(wanted, [WINDOW, 2 * WINDOW, 4 * WINDOW, 8 * WINDOW])
        self.assertTrue(wanted <= 2 * WINDOW or wanted <= most)
        if wanted > WINDOW:
            half = credit.window // 2  # what was used up in this time fits twice
            self.assertLessEqual(seconds * half, 2 * round_trip * WINDOW)

    def test_what_a_window_grows_by_is_due(self):
        self.spend(WINDOW)
        self.credit.widen(3 * WINDOW)
        self.assertEqual(self.credit.due(held=0), 4 * WINDOW)
        self.spend(2 * WINDOW - 1)
        self.assertEqual(self.credit.due(held=0), 0)
        self.spend(1)
        self.assertEqual(self.credit.due(held=0), 2 * WINDOW)

    @given(
        st.integers(0, 5 * WINDOW),
        st.integers(0, 5 * WINDOW),
        st.integers(0, 5 * WINDOW),
    )
    def test_a_window_shrinks_to_what_was_promised(self, growth, spent, held):
        """Never below its first size, and nothing that was granted is taken back."""
        credit = ReceiveCredit(WINDOW)
        credit.widen(growth)
        credit.due(0)
        spent = min(spent, credit.unspent)
        held = min(held, spent)
        credit.charge(spent)
        unspent = credit.unspent
        shrunk = credit.narrow(held)
        self.assertEqual(credit.window, WINDOW + growth - shrunk)
        self.assertGreaterEqual(shrunk, 0)
        self.assertEqual(credit.unspent, unspent)
        self.assertEqual(credit.window, max(WINDOW, unspent + held))
        due = credit.due(held)
        self.assertLessEqual(credit.unspent + held, credit.window)
        self.assertTrue(due == 0 or due * 2 >= credit.window)
