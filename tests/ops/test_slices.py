"""Long work on a fake clock, whose turns a test makes."""

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from gateway.ops.slices import PER_SLICE, PER_TURN, Shared, Slices
from tests.fakes import TurnClock


class SlicesTests(SynchronousTestCase):
    """Who is admitted to which turn."""

    def setUp(self):
        self.clock = TurnClock()
        self.slices = Slices(self.clock, 100)
        self.done: list[str] = []

    def ask(self, name, cost):
        """Ask for room, and note when there is some."""
        waiting = self.slices.room(cost)
        if waiting is None:
            self.done.append(name)
        else:
            waiting.addCallbacks(lambda _: self.done.append(name), lambda _: None)
        return waiting

    def turn(self):
        """Return what is done in the next turn."""
        self.done.clear()
        self.clock.turn()
        return list(self.done)

    def test_work_is_done_at_once_while_there_is_room(self):
        for _ in range(5):
            self.ask("a", 20)
        self.assertEqual(self.done, ["a"] * 5)
        self.assertIsNotNone(self.ask("b", 20))

    def test_a_turn_does_no_more_than_its_cost(self):
        for _ in range(20):
            self.ask("a", 25)
        self.assertEqual(len(self.done), 4)
        for _ in range(4):
            self.assertEqual(self.turn(), ["a"] * 4)
        self.assertEqual(self.turn(), [])

    def test_what_is_too_much_for_a_turn_is_paid_for_by_the_next_ones(self):
        self.ask("large", 350)
        self.ask("b", 1)
        self.assertEqual([self.turn() for _ in range(3)], [[], [], ["b"]])

    def test_those_who_wait_are_served_in_their_order(self):
        for name in ("a", "b", "c", "d"):
            self.ask(name, 100)
        self.assertEqual(self.done, ["a"])
        self.assertEqual([self.turn() for _ in range(3)], [["b"], ["c"], ["d"]])

    def test_acting_on_many_rows_takes_many_turns(self):
        self.slices.each("abcdef", PER_SLICE // 2, self.done.append)
        self.assertEqual(self.done, ["a", "b"])
        turns = [self.turn() for _ in range(10)]
        self.assertEqual("".join(map("".join, turns)), "cdef")
        self.assertEqual(max(map(len, turns)), 2)

    def test_nobody_overtakes_those_who_wait(self):
        self.ask("a", 100)
        self.ask("b", 10)
        self.clock.callLater(0, self.ask, "late", 1)
        self.assertEqual(self.turn(), ["b", "late"])

    def test_who_gives_up_waits_no_more(self):
        self.ask("a", 100)
        given_up = self.ask("b", 100)
        self.ask("c", 100)
        given_up.cancel()
        self.assertEqual(self.turn(), ["c"])

    def test_no_timer_is_left_when_nothing_is_done(self):
        self.ask("a", 10)
        self.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_table_is_taken_in_pieces_that_fit_a_turn(self):
        slices = Slices(self.clock)
        for cost in (1, 25, 2 * PER_SLICE):
            turns: list[list[int]] = [[]]

            async def take(cost=cost, turns=turns):
                async for piece in slices.pieces(range(5000), cost):
                    turns[-1] += piece

            done = Deferred.fromCoroutine(take())
            while not done.called:
                turns.append([])
                self.clock.turn()
            self.successResultOf(done)
            self.assertEqual([row for turn in turns for row in turn], [*range(5000)])
            most = max(map(len, turns)) * cost
            self.assertLess(most, PER_TURN + max(PER_SLICE, cost))

    def test_rows_are_taken_when_their_turn_comes(self):
        table = dict.fromkeys(range(3000))
        slices = Slices(self.clock)
        found: list[int] = []

        async def take():
            alive = (key for key in list(table) if key in table)
            async for piece in slices.pieces(alive, 1):
                found.extend(piece)

        done = Deferred.fromCoroutine(take())
        self.assertNotIn(2999, found)
        del table[2999]
        self.clock.advance(0)
        self.successResultOf(done)
        self.assertEqual(found, [*range(2999)])


class SharedTests(SynchronousTestCase):
    """Equal work that several wait for."""

    def setUp(self):
        self.shared: Shared[int] = Shared()
        self.begun: list[Deferred[int]] = []

    async def work(self):
        self.begun.append(Deferred())
        return await self.begun[-1]

    def test_whoever_asks_meanwhile_gets_the_result_under_way(self):
        waiting = [self.shared.join("a", self.work) for _ in range(3)]
        (work,) = self.begun
        work.callback(7)
        self.assertEqual([self.successResultOf(one) for one in waiting], [7, 7, 7])

    def test_what_is_over_is_begun_again(self):
        for number in (1, 2):
            found = self.shared.join("a", self.work)
            self.begun[-1].callback(number)
            self.assertEqual(self.successResultOf(found), number)

    def test_other_work_is_not_shared(self):
        self.shared.join("a", self.work)
        self.shared.join("b", self.work)
        self.assertEqual(len(self.begun), 2)

    def test_all_are_told_of_a_failure(self):
        waiting = [self.shared.join("a", self.work) for _ in range(2)]
        self.begun[0].errback(ZeroDivisionError())
        for one in waiting:
            self.failureResultOf(one, ZeroDivisionError)

    def test_who_leaves_takes_nothing_from_the_others(self):
        first, second = (self.shared.join("a", self.work) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.begun[0].callback(7)
        self.assertEqual(self.successResultOf(second), 7)

    def test_work_ends_when_the_last_one_has_left(self):
        waiting = [self.shared.join("a", self.work) for _ in range(2)]
        for one in waiting:
            one.cancel()
            self.failureResultOf(one, CancelledError)
        self.assertTrue(self.begun[0].called)
        again = self.shared.join("a", self.work)
        self.begun[1].callback(7)
        self.assertEqual(self.successResultOf(again), 7)
