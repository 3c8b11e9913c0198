"""Signals that come before the process is ready."""

import os
import signal

from twisted.trial.unittest import SynchronousTestCase

from gateway.ops import early
from gateway.ops.early import HELD, EarlySignals, Terminal


class EarlySignalTests(SynchronousTestCase):
    """`EarlySignals`, with dispositions that are put back."""

    def setUp(self):
        for number in HELD:
            self.addCleanup(signal.signal, number, signal.getsignal(number))
            signal.signal(number, signal.SIG_DFL)

    def held(self):
        signals = EarlySignals()
        signals.hold()
        return signals

    def test_each_is_noted_once_in_order(self):
        signals = self.held()
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR1):
            signal.raise_signal(number)
        self.assertEqual([signal.SIGUSR1, signal.SIGHUP], signals.release())
        self.assertEqual([], signals.release())

    def test_what_is_handled_or_ignored_already_stays_so(self):
        def handle(number, frame):
            pass

        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, handle)
        signals = self.held()
        self.assertTrue(signals.hang_ups_ignored)
        self.assertIs(signal.SIG_IGN, signal.getsignal(signal.SIGHUP))
        self.assertIs(handle, signal.getsignal(signal.SIGUSR1))


class TerminalTests(SynchronousTestCase):
    """`Terminal`, whose presence the test decides."""

    def setUp(self):
        self.present = True
        self.patch(early, "has_terminal", lambda: self.present)

    def test_it_is_gone_when_it_was_there(self):
        terminal = Terminal()
        self.assertFalse(terminal.is_gone())
        self.present = False
        self.assertTrue(terminal.is_gone())

    def test_what_never_was_is_not_gone(self):
        self.present = False
        self.assertFalse(Terminal().is_gone())

    def test_who_has_left_its_session_is_a_daemon(self):
        terminal = Terminal()
        self.present = False
        self.patch(os, "getsid", lambda pid: -1)
        self.assertFalse(terminal.is_gone())
