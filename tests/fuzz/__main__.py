"""Fuzz in memory: `python -m tests.fuzz --runs 100000 --seed 7 link api`.

`--keep` adds to the corpus what made the gateway say something new.  An input that does
harm is always added, as `found-...`; the tests then try it each time.
"""

import argparse
import sys
import time
import traceback

from tests.fuzz.corpus import keep
from tests.fuzz.targets import TARGETS, FoundError


def main(arguments):
    """Run the targets that are named, or all; return the exit code."""
    known = {target.name: target for target in TARGETS}
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    wanted = parser.parse_args(arguments)
    unknown = sorted(set(wanted.targets) - set(known))
    if unknown:
        parser.error(f"no target {unknown[0]}; there are {', '.join(known)}")
    results = [_fuzz(known[name], wanted) for name in wanted.targets or known]
    return 0 if all(results) else 1


def _fuzz(kind, wanted):
    began = time.perf_counter()
    target = kind(wanted.seed)
    try:
        target.run(wanted.runs)
    except FoundError as found:
        path = keep(target.name, found.data, "found")
        traceback.print_exc(file=sys.stdout)
        sys.stdout.write(f"{target.name} FAILED, see {path}\n")
        return False
    finally:
        target.close()
    for data in target.new if wanted.keep else []:
        keep(target.name, data, "new")
    seconds = time.perf_counter() - began
    sys.stdout.write(
        f"{target.name}: {wanted.runs} mutations, {len(target.new)} of them new, "
        f"in {seconds:.1f} s\n"
    )
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
