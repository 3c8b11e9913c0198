"""Run a range of seeds on all cores and sum up what failed, law by law."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Final, NamedTuple

from tests.sim.oracles import BrokenLawError
from tests.sim.storm import run_seed

BATCH: Final = 10  # seeds a worker takes at a time
AHEAD: Final = 4  # batches planned for each worker, so that a long range stays small
MOST_SHOWN: Final = 20  # failures printed in full, and seeds named for each law
MOST_CHARACTERS: Final = 300  # of one failure
PROGRESS_LINES: Final = 20


class Failure(NamedTuple):
    """A seed that failed.

    Attributes:
        seed: the seed.
        law: the broken law, or the name of any other exception.
        words: what was wrong, in one line.
    """

    seed: int
    law: str
    words: str


def judge(seed: int, run: Callable[[int], object] = run_seed) -> Failure | None:
    """Run one seed; return None if every law held."""
    try:
        run(seed)
    except Exception as fault:  # noqa: BLE001 - whatever it is, it is reported
        law = fault.law if isinstance(fault, BrokenLawError) else type(fault).__name__
        words = " ".join(str(fault).partition("\nseed ")[0].split())
        words = words.removeprefix(f"{law}: ")
        return Failure(seed, law, words[:MOST_CHARACTERS])
    return None


def _judge_all(seeds: range, run: Callable[[int], object]) -> list[Failure]:
    found = (judge(seed, run) for seed in seeds)
    return [failure for failure in found if failure is not None]


class Tally:
    """Counts failures by law and prints a bounded number of lines."""

    def __init__(self, seeds: range, say: Callable[[str], object]) -> None:
        """Begin with nothing run.

        Args:
            seeds: what will be run.
            say: takes each line.
        """
        self.done = 0
        self.failed: dict[str, list[int]] = {}
        self._seeds = seeds
        self._say = say
        self._shown = 0
        self._step = max(1, len(seeds) // PROGRESS_LINES)
        self._began = time.monotonic()

    @property
    def failures(self) -> int:
        """Return how many seeds failed."""
        return sum(map(len, self.failed.values()))

    def add(self, count: int, failures: list[Failure]) -> None:
        """Count a batch; print its failures and, now and then, the progress."""
        before, self.done = self.done, self.done + count
        for failure in failures:
            self.failed.setdefault(failure.law, []).append(failure.seed)
            if self._shown < MOST_SHOWN:
                self._say(f"seed {failure.seed}: {failure.law}: {failure.words}")
            elif self._shown == MOST_SHOWN:
                self._say(f"{MOST_SHOWN} failures shown; more are only counted")
            self._shown += 1
        if before // self._step != self.done // self._step:
            self._say(f"{self.done} of {len(self._seeds)} run, {self.failures} failed")

    def conclude(self) -> int:
        """Print the sum; return the exit code: 0 if all were run and held."""
        for law, seeds in sorted(self.failed.items()):
            named = ", ".join(map(str, sorted(seeds)[:MOST_SHOWN]))
            more = ", ..." if len(seeds) > MOST_SHOWN else ""
            self._say(f"broken {len(seeds)} times: {law} (seeds {named}{more})")
        seconds = time.monotonic() - self._began
        self._say(
            f"seeds {self._seeds[0]}-{self._seeds[-1]}: {self.done} of "
            f"{len(self._seeds)} run, {self.failures} failed, {seconds:.0f} s"
        )
        return int(self.failures > 0 or self.done < len(self._seeds))


def run_range(
    first: int,
    last: int,
    say: Callable[[str], object],
    *,
    run: Callable[[int], object] = run_seed,
    workers: int | None = None,
) -> int:
    """Run the seeds from `first` to `last` and return the exit code.

    An interrupt ends the run early; what was run until then is summed up.

    Args:
        first: lowest seed.
        last: highest seed.
        say: takes each line of the report.
        run: runs one seed; must be importable by its name.
        workers: processes; None = one for each core that this one may use.
    """
    seeds = range(first, last + 1)
    if not seeds:
        say(f"no seeds: {last} is less than {first}")
        return 2
    workers = workers or len(os.sched_getaffinity(0))
    tally = Tally(seeds, say)
    batches = iter([seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)])
    pool = ProcessPoolExecutor(workers, mp_context=get_context("fork"))
    try:
        for seeds_run, failures in _outcomes(pool, batches, run, workers * AHEAD):
            tally.add(seeds_run, failures)
    except BrokenProcessPool as fault:
        say(f"a worker died: {fault}")
    except KeyboardInterrupt:
        say("interrupted")
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return tally.conclude()


def _outcomes(
    pool: ProcessPoolExecutor,
    batches: Iterator[range],
    run: Callable[[int], object],
    ahead: int,
) -> Iterator[tuple[int, list[Failure]]]:
    """Yield the size and the failures of each batch as it is done."""
    planned = {}

    def plan() -> None:
        with contextlib.suppress(StopIteration):
            batch = next(batches)
            planned[pool.submit(_judge_all, batch, run)] = len(batch)

    for _ in range(ahead):
        plan()
    while planned:
        future = next(as_completed(planned))
        size = planned.pop(future)
        plan()
        yield size, future.result()
