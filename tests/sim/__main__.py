"""Replay seeds: `python -m tests.sim 123` tells what happens in seed 123.

`python -m tests.sim 0-9999` runs a range on all cores and sums up.
"""

import re
import sys
import time
import traceback

from tests.sim.ranges import run_range
from tests.sim.storm import run_seed

USAGE = "usage: python -m tests.sim SEED... | FIRST-LAST\n"


def main(arguments):
    """Run the seeds named by the arguments.

    Args:
        arguments: seeds, each of which is told in full, or one range.

    Returns:
        The exit code: 0 if every law held.
    """
    if len(arguments) == 1 and re.fullmatch(r"\d+-\d+", arguments[0]):
        first, last = map(int, arguments[0].split("-"))
        return run_range(first, last, _say)
    if not arguments or not all(one.isdecimal() for one in arguments):
        sys.stderr.write(USAGE)
        return 2
    failed = [seed for seed in map(int, arguments) if not _replay(seed)]
    return 1 if failed else 0


def _say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _replay(seed):
    began = time.perf_counter()
    try:
        world = run_seed(seed, tell=_say)
    except Exception:  # noqa: BLE001 - whatever it is, it is told
        _say(f"seed {seed} FAILED")
        traceback.print_exc(file=sys.stdout)
        return False
    seconds = time.perf_counter() - began
    _say(
        f"seed {seed} passed: {world.begun} visitors, {world.faulty} faults, "
        f"{world.clock.seconds():.1f} s in {seconds:.2f} s"
    )
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
