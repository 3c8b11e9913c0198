"""Replay seeds: `python -m tests.sim 123` tells what happens in seed 123."""

import sys
import time
import traceback

from tests.sim.storm import run_seed


def main(arguments):
    """Run the seeds named by the arguments and tell about each.

    Args:
        arguments: seeds, or one range such as `0-299`, of which only the verdicts
            are told.

    Returns:
        The exit code: 0 if every law held.
    """
    if not arguments or not all(one.replace("-", "").isdigit() for one in arguments):
        sys.stderr.write("usage: python -m tests.sim SEED... | FIRST-LAST\n")
        return 2
    failed = 0
    for argument in arguments:
        first, dash, last = argument.partition("-")
        for seed in range(int(first), int(last or first) + 1):
            failed += not _replay(seed, aloud=not dash)
    return 1 if failed else 0


def _replay(seed, *, aloud):
    began = time.perf_counter()
    tell = (lambda line: sys.stdout.write(f"{line}\n")) if aloud else None
    try:
        world = run_seed(seed, tell=tell)
    except Exception:  # noqa: BLE001 - whatever it is, it is told
        sys.stdout.write(f"seed {seed} FAILED\n")
        traceback.print_exc(limit=-4 if not aloud else None, file=sys.stdout)
        return False
    if aloud:
        seconds = time.perf_counter() - began
        sys.stdout.write(
            f"seed {seed} passed: {world.begun} visitors, {world.faulty} faults, "
            f"{world.clock.seconds():.1f} s in {seconds:.2f} s\n"
        )
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
