"""An agent stays connected."""

import json

from gateway.wire import frames, messages
from gateway.wire.hello import Register
from tests.agent.rig import GATEWAY, AgentCase
from tests.link.rig import KEEP_ALIVE, FarEnd, goaway, hello_ack
from tests.strategies import json_frame, raw_frame, with_id

OTHER = ("192.0.2.2", 9001)
NAME_TAKEN = "another agent uses this name"


class ConnectingTests(AgentCase):
    """Connect, greet, and again."""

    def test_it_greets_and_says_that_it_is_up(self):
        self.start()
        self.assertEqual([GATEWAY], self.dials())
        gateway = self.reach()
        ((kind, payload),) = gateway.heard()
        greeting = json.loads(payload)
        self.assertEqual((frames.HELLO, 0), (kind, greeting["link"]))
        self.assertEqual("a token of many letters", greeting["token"])
        gateway.says(hello_ack())
        self.assertEqual(1, len(self.lines("agent link up: link 0")))
        self.assertNotIn("a token of many letters", "".join(self.lines()))

    def test_waits_grow_to_the_longest(self):
        self.start()
        waits = []
        for _ in range(5):
            self.refuse()
            before = self.clock.seconds()
            tried = len(self.dials())
            while len(self.dials()) == tried:
                self.clock.advance(1)
            waits.append(self.clock.seconds() - before)
        self.assertEqual([5, 10, 20, 30, 30], waits)

    def test_an_attempt_takes_10_seconds(self):
        self.start()
        self.assertEqual(10.0, self.network.attempts[0].timeout_seconds)

    def test_names_are_looked_up_anew_at_each_try(self):
        self.build(servers=(("gw.test", 9000),))
        self.start()
        self.network.answer("192.0.2.5")
        self.refuse()
        self.clock.advance(5)
        self.network.answer("192.0.2.6")
        self.assertEqual(["192.0.2.5", "192.0.2.6"], [one for one, _ in self.dials()])

    def test_a_bug_of_the_network_is_logged_and_retried(self):
        self.start()
        self.network.attempts[0].fail(ZeroDivisionError())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.clock.advance(5)
        self.assertEqual(2, len(self.dials()))

    def test_a_lost_link_is_made_again(self):
        self.up().transport.peer_resets()
        self.assertEqual(1, len(self.lines("agent link down: link 0")))
        self.clock.advance(5)
        self.assertEqual(2, len(self.dials()))

    def test_a_link_that_lived_a_heartbeat_resets_the_waits(self):
        self.start()
        self.refuse()
        self.clock.advance(5)
        self.refuse()
        self.clock.advance(10)
        gateway = self.linked()
        self.wait(15)
        gateway.transport.peer_resets()
        self.clock.advance(5)
        self.assertEqual(4, len(self.dials()))

    def test_a_link_that_lived_less_does_not(self):
        self.start()
        self.refuse()
        self.clock.advance(5)
        gateway = self.linked()
        self.wait(14.5)
        gateway.transport.peer_resets()
        self.clock.advance(9)
        self.assertEqual(2, len(self.dials()))
        self.clock.advance(1)
        self.assertEqual(3, len(self.dials()))

    def test_the_heartbeat_is_that_of_the_link(self):
        self.start()
        self.refuse()
        self.clock.advance(5)
        gateway = self.linked(heartbeat=2)
        self.wait(2.25)
        gateway.transport.peer_resets()
        self.clock.advance(5)
        self.assertEqual(3, len(self.dials()))

    def test_a_link_that_was_never_decided_does_not(self):
        self.start()
        self.refuse()
        self.clock.advance(5)
        gateway = self.reach()
        self.wait(20)
        gateway.transport.peer_resets()
        self.clock.advance(5)
        self.assertEqual(2, len(self.dials()))

    def test_a_silent_gateway_is_given_up(self):
        self.start()
        gateway = self.reach()
        self.wait(46)
        self.assertTrue(gateway.transport.aborted)
        self.assertEqual(1, len(self.lines("dropped: nothing heard for 45 seconds")))
        self.assertEqual([], self.lines("Unauthorized"))

    def test_a_link_that_was_never_up_is_not_down(self):
        self.start()
        self.reach().transport.peer_resets()
        self.clock.advance(5)
        self.reach().says(hello_ack(error="authentication failed"))
        self.assertEqual([], self.lines("link down"))
        self.assertEqual(2, len(self.lines("next try in")))

    def test_the_documented_words(self):
        self.language = "zh"
        self.build()
        self.up().transport.peer_resets()
        self.assertEqual(1, len(self.lines("隧道客户端已连接")))
        self.assertEqual(1, len(self.lines("隧道客户端已断开")))


class RoundTests(AgentCase):
    """Several gateways."""

    def setUp(self):
        super().setUp()
        self.build(servers=(GATEWAY, OTHER))
        self.start()

    def attempt(self, number):
        """Let one attempt of several succeed; return the gateway's end."""
        gateway = FarEnd(self.network.attempts[number].succeed())
        self.gateways.append(gateway)
        return gateway

    def test_the_next_is_tried_at_once_when_one_fails(self):
        self.refuse()
        self.assertEqual([GATEWAY, OTHER], self.dials())
        self.linked()
        self.assertEqual(1, len(self.lines("link up: link 0 to 192.0.2.2:9001")))
        self.assertEqual(1, len(self.lines("refused; the next gateway is tried")))

    def test_the_next_is_tried_after_3_seconds_of_silence(self):
        self.clock.advance(2.9)
        self.assertEqual([GATEWAY], self.dials())
        self.clock.advance(0.1)
        self.assertEqual([GATEWAY, OTHER], self.dials())
        self.linked()
        self.assertTrue(self.network.attempts[0].cancelled)
        self.assertEqual(1, len(self.service.named()))

    def test_a_gateway_that_is_slow_to_decide_still_wins_if_it_is_first(self):
        slow = self.attempt(0)
        self.clock.advance(3)
        self.assertEqual([GATEWAY, OTHER], self.dials())
        slow.says(hello_ack())
        self.assertEqual(1, len(self.lines("link up: link 0 to 192.0.2.1:9000")))
        self.assertTrue(self.network.attempts[1].cancelled)

    def test_a_gateway_that_accepts_and_is_silent_loses(self):
        silent = self.attempt(0)
        self.clock.advance(3)
        self.linked()
        self.assertTrue(silent.transport.aborted)
        self.assertEqual(1, len(self.lines("link up")))
        self.assertEqual([], self.lines("link down"))

    def test_a_refusal_counts_as_a_failure(self):
        self.attempt(0).says(hello_ack(error="authentication failed"))
        self.assertEqual([GATEWAY, OTHER], self.dials())

    def test_a_lost_connection_counts_as_a_failure(self):
        self.attempt(0).transport.peer_resets()
        self.assertEqual([GATEWAY, OTHER], self.dials())

    def test_a_round_has_one_wait_and_begins_with_the_first(self):
        for wait in (5, 10):
            self.refuse()
            self.refuse()
            tried = self.dials()
            self.clock.advance(wait - 0.5)
            self.assertEqual(tried, self.dials())
            self.clock.advance(0.5)
            self.assertEqual([*tried, GATEWAY], self.dials())

    def test_a_round_ends_when_the_last_that_is_under_way_fails(self):
        self.clock.advance(3)
        self.refuse()
        self.clock.advance(6)
        self.assertEqual([GATEWAY, OTHER], self.dials())
        self.network.attempts[0].fail(TimeoutError(110, "timed out"))
        self.clock.advance(5)
        self.assertEqual([GATEWAY, OTHER, GATEWAY], self.dials())

    def test_after_a_loss_the_first_is_tried_first(self):
        self.refuse()
        gateway = self.linked()
        self.wait(20)
        gateway.transport.peer_resets()
        self.clock.advance(5)
        self.assertEqual([GATEWAY, OTHER, GATEWAY], self.dials())

    def test_all_links_go_to_one_gateway(self):
        self.build(servers=(GATEWAY, OTHER), connections=3)
        self.start()
        self.refuse()
        first = self.linked()
        self.assertEqual([GATEWAY, OTHER, OTHER, OTHER], self.dials())
        self.attempt(2).says(hello_ack())
        self.attempt(3).says(hello_ack())
        first.transport.peer_resets()
        self.clock.advance(5)
        self.assertEqual(OTHER, self.dials()[-1])

    def test_when_all_links_are_lost_the_others_follow_the_first(self):
        self.build(servers=(GATEWAY, OTHER), connections=2)
        self.start()
        self.refuse()
        self.linked()
        self.linked()
        for gateway in self.gateways:
            gateway.transport.peer_resets()
        tried = len(self.dials())
        self.clock.advance(5)
        self.assertEqual([GATEWAY], self.dials()[tried:])
        self.linked()
        self.assertEqual([GATEWAY, GATEWAY], self.dials()[tried:])

    def test_a_stop_ends_a_round(self):
        connected = self.attempt(0)
        self.clock.advance(3)
        stopping = self.service.stopService()
        self.assertTrue(self.network.attempts[1].cancelled)
        self.assertTrue(connected.transport.half_closed)
        connected.transport.peer_resets()
        self.successResultOf(stopping)
        self.clock.advance(60)
        self.assertEqual([GATEWAY, OTHER], self.dials())
        self.assertFalse(self.clock.getDelayedCalls())


class GivingUpTests(AgentCase):
    """A number of tries, where one is set."""

    def test_one_try_is_one(self):
        self.build(max_attempts=1)
        self.start()
        self.refuse()
        self.assertEqual((1, 1), (len(self.dials()), self.gave_up))
        self.assertEqual(1, len(self.lines("giving up after 1 tries")))

    def test_one_try_is_every_gateway_once(self):
        self.build(max_attempts=1, servers=(GATEWAY, OTHER))
        self.start()
        self.refuse()
        self.assertEqual(0, self.gave_up)
        self.refuse()
        self.assertEqual((2, 1), (len(self.dials()), self.gave_up))

    def test_a_link_that_lived_is_no_try_without_success(self):
        self.build(max_attempts=1)
        gateway = self.up()
        self.wait(15)
        gateway.transport.peer_resets()
        self.clock.advance(5)
        self.assertEqual((2, 0), (len(self.dials()), self.gave_up))
        self.refuse()
        self.assertEqual(1, self.gave_up)

    def test_after_the_last_try_it_gives_up(self):
        self.build(max_attempts=2)
        self.start()
        self.refuse()
        self.clock.advance(30)
        self.assertEqual(0, self.gave_up)
        self.refuse()
        self.assertEqual(1, self.gave_up)
        self.assertEqual(1, len(self.lines("giving up")))
        self.assertFalse(self.clock.getDelayedCalls())

    def test_one_link_of_several_does_not_end_the_others(self):
        self.build(max_attempts=2, connections=2)
        first = self.up()
        for _ in range(4):
            self.refuse()
            self.wait(30)
            first.says(raw_frame(frames.KEEP_ALIVE))
        self.assertEqual(0, self.gave_up)
        self.assertEqual(6, len(self.dials()))
        first.transport.peer_resets()
        self.refuse()
        self.assertEqual(0, self.gave_up)
        for _ in range(2):
            self.wait(30)
            self.refuse()
        self.assertEqual(1, self.gave_up)


class RefusalTests(AgentCase):
    """The gateway does not want this agent."""

    def test_a_refusal_is_said_and_retried(self):
        self.start()
        gateway = self.reach()
        gateway.says(hello_ack(error="authentication failed"))
        self.assertEqual(1, len(self.lines("refused the link: authentication failed")))
        self.assertTrue(gateway.transport.half_closed)
        self.clock.advance(5)
        self.assertEqual(2, len(self.dials()))

    def test_a_name_in_use_is_retried_at_the_longest_wait(self):
        for word in (
            hello_ack(error=NAME_TAKEN),
            hello_ack() + goaway(frames.REPLACED, NAME_TAKEN),
        ):
            self.build()
            self.start()
            gateway = self.reach()
            gateway.says(word)
            gateway.transport.peer_resets()
            self.clock.advance(29)
            self.assertEqual(1, len(self.dials()))
            self.clock.advance(1)
            self.assertEqual(2, len(self.dials()))
            self.refuse()
            self.clock.advance(29)
            self.assertEqual(2, len(self.dials()))

    def test_a_name_that_is_free_again_ends_that(self):
        self.start()
        self.reach().says(hello_ack(error=NAME_TAKEN))
        self.wait(31)
        gateway = self.linked()
        self.wait(15)
        gateway.transport.peer_resets()
        self.clock.advance(5)
        self.assertEqual(3, len(self.dials()))

    def test_who_is_replaced_says_so(self):
        self.up().says(goaway(frames.REPLACED, NAME_TAKEN))
        self.assertEqual(1, len(self.lines("replaced: another agent uses this name")))

    def test_a_goodbye_is_logged(self):
        gateway = self.up()
        gateway.says(goaway(frames.STOPPING, "the gateway stops"))
        self.assertEqual(1, len(self.lines("goodbye: the gateway stops")))
        self.build()
        self.up().says(goaway(frames.RELOAD))
        self.assertEqual(1, len(self.lines("goodbye: reason 4")))


class SeveralLinksTests(AgentCase):
    """Links side by side."""

    def test_the_others_follow_the_first(self):
        self.build(connections=3)
        self.start()
        self.assertEqual(1, len(self.dials()))
        self.linked()
        self.assertEqual(3, len(self.dials()))
        numbers = []
        for attempt in self.network.attempts[1:]:
            transport = attempt.succeed()
            numbers.append(json.loads(transport.value()[6:])["link"])
        self.assertEqual([1, 2], numbers)

    def test_no_more_than_the_gateway_takes(self):
        self.build(connections=3)
        self.up(links=2)
        self.assertEqual(2, len(self.dials()))

    def test_a_legacy_gateway_takes_one(self):
        self.build(connections=3)
        self.start()
        self.reach().says(KEEP_ALIVE)
        self.wait(5)
        self.assertEqual(1, len(self.dials()))

    def test_a_gateway_that_takes_fewer_now_is_left_alone(self):
        self.build(connections=2)
        self.up()
        for word in (KEEP_ALIVE, hello_ack(links=1)):
            second = self.reach()
            second.says(word)
            self.assertEqual(1, len(self.lines("takes 1 links only")))
            second.says(goaway(frames.STOPPING))
            second.transport.peer_resets()
            self.wait(10)
            self.assertEqual(2, len(self.dials()))
            self.build(connections=2)
            self.events.clear()
            self.up()

    def test_one_that_stayed_away_comes_when_it_may(self):
        self.build(connections=2)
        first = self.up(links=1)
        first.transport.peer_resets()
        self.wait(5)
        self.assertEqual(2, len(self.dials()))
        self.linked()
        self.assertEqual(3, len(self.dials()))

    def test_a_link_that_is_up_is_not_started_again(self):
        self.build(connections=2)
        first = self.up()
        self.linked()
        first.transport.peer_resets()
        self.wait(5)
        self.linked()
        self.assertEqual(3, len(self.dials()))


class AutoTests(AgentCase):
    """Links as many as are needed, on a path with a round trip of 100 ms."""

    def setUp(self):
        super().setUp()
        self.build(connections=16, auto=True)

    def greet(self, gateway, **ack):
        """Accept a link; its round trip is 100 ms."""
        gateway.says(hello_ack(**ack))
        for kind, payload in gateway.heard():
            if kind == frames.PING:
                self.clock.advance(0.1)
                gateway.says(raw_frame(kind, bytes([frames.PING_ANSWER]) + payload[1:]))

    def greeted(self, **ack):
        """Start, and accept the first link."""
        self.start()
        gateway = self.reach()
        self.greet(gateway, **ack)
        return gateway

    def press(self, streams=10):
        """Open streams on the first link, whose transport then takes nothing more."""
        for number in range(1, streams + 1):
            self.gateways[0].says(
                messages.encode_open(messages.OpenRequest(number, 1, 80, "", {}))
            )
        self.keeper().link.pauseProducing()

    def rest(self):
        """The downloads end."""
        self.keeper().link.resumeProducing()
        for stream_id in list(self.keeper().link.session.core.streams):
            self.gateways[0].says(messages.encode_reset(stream_id, frames.ABORTED))

    def keeper(self, number=0):
        return self.service.keepers[number]

    def tries(self):
        """Return the attempts at links that were made so far."""
        attempts = self.network.attempts
        return [one for one in attempts if (one.address, one.port) == GATEWAY]

    def accept(self, **ack):
        """Accept the links that are asked for."""
        for attempt in self.tries()[len(self.gateways) :]:
            gateway = FarEnd(attempt.succeed())
            self.gateways.append(gateway)
            self.greet(gateway, **ack)

    def pressed(self, seconds=2):
        """Let time pass under pressure; return how many links there are."""
        for _ in range(seconds * 4):
            self.wait(0.25)
            self.accept()
        return len(self.service.named())

    def test_one_when_idle(self):
        self.greeted()
        self.wait(40)
        self.assertEqual(1, len(self.dials()))

    def test_ten_downloads_have_ten_links_within_seconds(self):
        self.greeted()
        self.press()
        self.assertEqual(10, self.pressed())
        numbers = [
            json.loads(one.transport.value()[6:].split(b"}")[0] + b"}")["link"]
            for one in self.gateways
        ]
        self.assertEqual(list(range(10)), numbers)

    def test_no_more_than_the_gateway_takes(self):
        self.greeted(links=3)
        self.press()
        for _ in range(8):
            self.wait(0.25)
            self.accept(links=3)
        self.assertEqual(3, len(self.tries()))

    def test_a_legacy_gateway_gets_one(self):
        self.start()
        self.reach().says(KEEP_ALIVE)
        self.keeper().link.pauseProducing()
        self.wait(5)
        self.assertEqual(1, len(self.dials()))

    def test_after_5_idle_minutes_there_is_one_and_no_link_was_lost(self):
        self.greeted()
        self.press()
        self.pressed()
        self.rest()
        for _ in range(40):
            self.wait(7.25)
            for gateway in self.gateways:
                gateway.says(KEEP_ALIVE)
        self.assertEqual(10, len(self.service.named()))
        self.wait(15)
        for gateway in self.gateways[1:]:
            self.assertEqual([frames.GOAWAY], gateway.kinds())
            gateway.says(goaway(frames.SURPLUS))
            gateway.transport.peer_resets()
        self.assertEqual([], [k for k in self.gateways[0].kinds() if k != 0x02])
        self.gateways[0].says(KEEP_ALIVE)
        self.wait(30)
        self.assertEqual(1, len(self.service.named()))
        self.assertEqual(10, len(self.tries()))
        self.assertEqual([], self.lines("link down"))
        self.assertEqual(9, len(self.lines("closed: not needed now")))

    def test_a_link_with_streams_is_not_closed(self):
        self.greeted()
        self.press()
        self.pressed()
        self.rest()
        self.gateways[9].says(
            messages.encode_open(messages.OpenRequest(1, 1, 80, "", {}))
        )
        self.network.attempts[-1].succeed()
        for _ in range(50):
            self.wait(7.25)
            for gateway in self.gateways:
                gateway.says(KEEP_ALIVE)
        self.assertNotIn(frames.GOAWAY, self.gateways[9].kinds())
        self.assertIn(frames.GOAWAY, self.gateways[8].kinds())

    def test_a_refused_link_is_not_tried_again_for_5_minutes(self):
        self.greeted()
        self.press()
        self.wait(1.5)
        self.assertEqual(4, len(self.tries()))
        self.accept(error="the number of tunnels has reached the limit")
        self.assertEqual(1, self.pressed(8))
        self.assertEqual(4, len(self.tries()))

    def test_a_link_that_is_lost_comes_back_while_it_is_needed(self):
        self.greeted()
        self.press()
        self.pressed()
        self.gateways[4].transport.peer_resets()
        self.assertEqual(1, len(self.lines("link down")))
        self.assertEqual(9, self.pressed(1))
        self.assertEqual(10, self.pressed(5))

    def test_a_stop_closes_all_and_leaves_no_timer(self):
        self.greeted()
        self.press()
        self.pressed()
        self.rest()
        stopped = self.service.stopService()
        for gateway in self.gateways:
            self.assertIn(frames.GOAWAY, gateway.kinds())
            gateway.says(goaway(frames.STOPPING))
            gateway.transport.peer_resets()
        self.successResultOf(stopped)
        self.assertEqual([], self.clock.getDelayedCalls())


class PatienceTests(AgentCase):
    """How long targets are dialled."""

    def test_a_target_has_2_seconds_less_than_its_visitor(self):
        for patience, seconds in ((10, 5), (6, 4), (3, 1.5), (1, 0.5)):
            self.build()
            self.up(open_timeout=patience)
            self.assertEqual(seconds, self.targets.dial_seconds)

    def test_a_legacy_gateway_says_nothing_of_it(self):
        self.start()
        self.reach().says(KEEP_ALIVE)
        self.assertEqual(5.0, self.targets.dial_seconds)


class WishTests(AgentCase):
    """Public ports."""

    def test_they_are_asked_for_and_announced(self):
        self.build(wishes=[Register(id="site", local=80)])
        self.start()
        gateway = self.reach()
        gateway.heard()
        gateway.says(hello_ack(features=["register"]))
        self.assertEqual([frames.REGISTER], gateway.kinds())
        gateway.says(
            json_frame(
                frames.REGISTER_ACK, id="site", public_url="tcp://:10001", port=10001
            )
        )
        self.assertEqual(["tcp://192.0.2.1:10001"], self.announced)


class StopTests(AgentCase):
    """Polite, but not for ever."""

    def stopped(self):
        return self.service.stopService()

    def test_before_the_first_connection(self):
        self.start()
        self.successResultOf(self.stopped())
        self.assertTrue(self.network.attempts[0].cancelled)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_while_a_name_is_looked_up(self):
        self.build(servers=(("gw.test", 9000),))
        self.start()
        self.successResultOf(self.stopped())
        self.assertEqual(["gw.test"], self.network.given_up)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_between_two_tries(self):
        self.start()
        self.refuse()
        self.successResultOf(self.stopped())
        self.assertFalse(self.clock.getDelayedCalls())

    def test_before_the_gateway_has_answered(self):
        self.start()
        gateway = self.reach()
        stopping = self.stopped()
        self.assertTrue(gateway.transport.half_closed)
        gateway.transport.peer_resets()
        self.successResultOf(stopping)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_a_goodbye_is_said_and_waited_for(self):
        gateway = self.up()
        stopping = self.stopped()
        self.assertEqual([frames.GOAWAY], gateway.kinds())
        self.assertNoResult(stopping)
        gateway.says(goaway(frames.STOPPING))
        self.assertTrue(gateway.transport.half_closed)
        gateway.transport.peer_resets()
        self.successResultOf(stopping)
        self.assertEqual(1, len(self.dials()))
        self.assertFalse(self.clock.getDelayedCalls())

    def test_twice(self):
        gateway = self.up()
        first, second = self.stopped(), self.stopped()
        gateway.transport.peer_resets()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_streams_have_30_seconds(self):
        gateway = self.up()
        gateway.says(raw_frame(frames.OPEN, b"\0\0\0\x01\x01\0\x50\0\0\0"))
        self.network.attempts[-1].succeed()
        stopping = self.stopped()
        gateway.says(goaway(frames.STOPPING))
        self.keep(gateway, 29)
        self.assertNoResult(stopping)
        self.keep(gateway, 2)
        self.successResultOf(stopping)
        self.assertFalse(self.clock.getDelayedCalls())

    def keep(self, gateway, seconds):
        for _ in range(seconds):
            gateway.says(KEEP_ALIVE)
            self.wait(1)

    def test_a_stream_that_finishes_ends_it(self):
        gateway = self.up()
        gateway.says(raw_frame(frames.OPEN, b"\0\0\0\x01\x01\0\x50\0\0\0"))
        target = self.network.attempts[-1].succeed()
        stopping = self.stopped()
        gateway.says(goaway(frames.STOPPING))
        target.peer_resets()
        self.assertTrue(gateway.transport.half_closed)
        gateway.transport.peer_resets()
        self.successResultOf(stopping)

    def target_with_a_rest(self):
        """Return a gateway and a target that still takes its last bytes."""
        gateway = self.up()
        gateway.says(raw_frame(frames.OPEN, b"\0\0\0\x01\x01\0\x50\0\0\0"))
        target = self.network.attempts[-1].succeed()
        target.peer_finishes()
        gateway.says(with_id(frames.DATA, 1, b"last words"), with_id(frames.FIN, 1))
        self.assertEqual(1, len(self.linger))
        return gateway, target

    def test_targets_take_their_last_bytes(self):
        gateway, target = self.target_with_a_rest()
        stopping = self.stopped()
        gateway.transport.peer_resets()
        self.wait(1)
        self.assertNoResult(stopping)
        self.assertFalse(target.aborted)
        target.peer_reads()
        self.wait(1)
        self.successResultOf(stopping)
        self.assertFalse(target.aborted)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_force_waits_for_nobody(self):
        gateway, target = self.target_with_a_rest()
        stopping = self.stopped()
        self.service.force()
        gateway.transport.pump()
        self.wait(1)
        self.successResultOf(stopping)
        self.assertTrue(gateway.transport.aborted)
        self.assertTrue(target.aborted)
        self.assertFalse(self.clock.getDelayedCalls())

    def test_last_words_under_way_are_waited_for(self):
        self.start()
        gateway = self.reach()
        gateway.says(hello_ack(error="authentication failed"))
        stopping = self.stopped()
        self.assertNoResult(stopping)
        self.wait(5.25)
        self.successResultOf(stopping)
        self.assertFalse(self.clock.getDelayedCalls())
