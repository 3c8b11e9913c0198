"""What a process takes from the outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

from twisted.internet.interfaces import (
    IReactorThreads,
)

from gateway.net.network import INetworkReactor
from gateway.ops.process import IProcessReactor

_RANDOM: Final = SystemRandom()


class IGatewayReactor(INetworkReactor, IReactorThreads, IProcessReactor):
    """What a whole process needs of the reactor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a process takes from the outside world.

    Attributes:
        wall_clock: Unix seconds.
        random_bytes: unguessable bytes.
        random: 0.0 up to 1.0, for jitter.
        randrange: 0 up to below its argument.
    """

    wall_clock: Callable[[], float] = time.time
    random_bytes: Callable[[int], bytes] = os.urandom
    random: Callable[[], float] = _RANDOM.random
    randrange: Callable[[int], int] = _RANDOM.randrange
