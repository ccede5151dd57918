"""Fuzzing of the decoder; see README.md. `python fuzz/run.py --seconds 60` is the smoke run."""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
from pathlib import Path

_MEMORY = 4 << 30  # bytes of address space: more is a finding


def main() -> int:
    """1 if there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--executions", type=int, default=10**9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--coverage", action="store_true", help="led by coverage; needs atheris")
    parser.add_argument(
        "--crumb",
        type=Path,
        help="write each input here before it is run: for crashes that end the process",
    )
    options = parser.parse_args()
    if options.coverage:
        import atheris

        with atheris.instrument_imports(include=["isoq"]):
            import campaign
        campaign.explore_by_coverage(
            campaign.Campaign(options.crumb), options.seconds, options.executions, options.seed
        )
    import campaign

    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # whose shadow memory exceeds any limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    this = campaign.Campaign(options.crumb)
    campaign.explore(this, options.seconds, options.executions, random.Random(options.seed))
    this.report_all()
    return bool(this.places)


if __name__ == "__main__":
    sys.exit(main())
