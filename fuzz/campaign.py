"""Many executions: where their inputs come from, what is kept of them, what is said."""

from __future__ import annotations

import hashlib
import random
import sys
import time
import traceback
from pathlib import Path

from mutate import mutate_file, mutate_tile
from targets import Seed, Targets

_FINDINGS = Path(__file__).parent / "findings"
_FILES = 0.15  # share of the executions on whole files
_FROM_POOL, _POOL = (
    0.4,
    4000,
)  # share of the executions that start from what earlier ones made, and how much of that is kept
_LONGEST = 20_000  # bytes of an input that is kept
_EVERY = 60  # seconds between reports


class Campaign:
    """Runs inputs, writes down what crashes, one input of each place in the code, and says from
    time to time how it goes."""

    def __init__(self, crumb: Path | None):
        """crumb: file that each input is written to before it is run, for crashes that end the
        process."""
        _FINDINGS.mkdir(exist_ok=True)
        self.targets, self.places, self._crumb, self._said = Targets(), {}, crumb, time.monotonic()

    def run(self, data: bytes, seed: Seed, whole: bool) -> str | None:
        """Return the outcome of a file or a tile, None for a finding."""
        if self._crumb:
            self._crumb.write_bytes(data)
        try:
            return (self.targets.file if whole else self.targets.tile)(data, seed)
        except Exception as error:
            self._add(data, error)
            return None
        finally:
            if time.monotonic() - self._said > _EVERY:
                self._said = time.monotonic()
                self.report()

    def _add(self, data: bytes, error: Exception) -> None:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {frame.filename}:{frame.lineno}"
        if place not in self.places:
            path = _FINDINGS / hashlib.sha256(data).hexdigest()[:12]
            path.write_bytes(data)
            print(f"{path}: {place}\n{''.join(traceback.format_exception(error))}", flush=True)
        self.places[place] = self.places.get(place, 0) + 1

    def report(self) -> None:
        """One line."""
        c = self.targets.counts
        shares = (
            f"{c.reached / max(c.executions, 1):.1%} reached entropy decoding, "
            f"{c.decoded / max(c.executions, 1):.1%} were decoded whole"
        )
        print(
            f"{c.executions} executions, {shares}, {len(c.outcomes)} outcomes, {len(self.places)} "
            "findings",
            flush=True,
        )

    def report_all(self) -> None:
        """And what came of them."""
        self.report()
        for outcome, number in sorted(
            self.targets.counts.outcomes.items(), key=lambda item: -item[1]
        ):
            print(f"{number:9d} {outcome or 'decoded'}")


def _mutated(data: bytes, seed: Seed, whole: bool, rng: random.Random) -> bytes:
    return (mutate_file if whole else mutate_tile)(data, seed.model, rng)


def explore(campaign: Campaign, seconds: float, executions: int, rng: random.Random) -> None:
    """Change inputs at random, and keep what comes to an end that few others came to, or gets
    far."""
    pools: dict[bool, list[tuple[bytes, Seed]]] = {True: [], False: []}
    end, counts = time.monotonic() + seconds, campaign.targets.counts
    while time.monotonic() < end and counts.executions < executions:
        whole, seed = rng.random() < _FILES, rng.choice(campaign.targets.seeds)
        data, pool = seed.file if whole else seed.tile, pools[whole]
        if pool and rng.random() < _FROM_POOL:
            data, seed = rng.choice(pool)
        data, reached = _mutated(data, seed, whole, rng), counts.reached
        outcome = campaign.run(data, seed, whole)
        rare = outcome is not None and counts.outcomes[outcome] <= 10
        if (rare or (counts.reached > reached and rng.random() < 0.05)) and len(data) < _LONGEST:
            if len(pool) == _POOL:
                del pool[rng.randrange(_POOL)]
            pool.append((data, seed))


def explore_by_coverage(campaign: Campaign, seconds: float, executions: int, number: int) -> None:
    """The same changes, led by the coverage of isoq's Python code. Does not return: libFuzzer ends
    the process."""
    import atheris

    seeds = campaign.targets.seeds

    def meant(data: bytes) -> tuple[Seed, bool]:
        """The first byte of an input says which seed it comes from, and whether it is that one's
        tile or file."""
        return seeds[data[0] // 2 % len(seeds)], bool(data[0] & 1)

    def one(data: bytes) -> None:
        if data:
            campaign.run(data[1:], *meant(data))

    def change(data: bytes, largest: int, number: int) -> bytes:
        rng = random.Random(number)
        if (
            len(data) < 2 or rng.random() < 0.4
        ):  # changes of changes of changes are refused at the first field
            whole, which = rng.random() < _FILES, rng.randrange(len(seeds))
            data = bytes([2 * which + whole]) + (seeds[which].file if whole else seeds[which].tile)
        return (data[:1] + _mutated(data[1:], *meant(data), rng))[:largest]

    limits = [
        f"-max_len={_LONGEST}",
        f"-max_total_time={int(seconds)}",
        f"-runs={executions}",
        "-rss_limit_mb=4096",
        "-timeout=60",
    ]
    atheris.Setup(
        [sys.argv[0], *limits, f"-seed={number + 1}", f"-artifact_prefix={_FINDINGS}/"],
        one,
        custom_mutator=change,
    )
    atheris.Fuzz()
