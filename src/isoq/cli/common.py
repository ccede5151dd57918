"""What several commands share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from ..errors import BadInput


def add_threads(parser: argparse.ArgumentParser) -> None:
    from ..codec import Options

    parser.add_argument("--threads", type=int, default=Options().threads, help="cores to use (default: all, %(default)s here)")


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no summary")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


def pair_up(paths: list[str], folder: str | None, is_target, what: str) -> tuple[list[str], Path | None]:
    """Positional arguments -> sources and, if the last of two is a target, that target. Raises BadInput."""
    if len(paths) == 2 and is_target(paths[1]):
        if folder is not None:
            raise BadInput(f"{paths[1]}: give {what} or --out, not both")
        return paths[:1], Path(paths[1])
    return paths, None


def folder_for(out: str | None, source: Path) -> Path:
    """The folder that output goes to: `out`, made if needed, else the source's own. Raises BadInput."""
    if out is None:
        return source.parent
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{out}: cannot be made a folder ({error.strerror}); choose another --out") from error
    return folder


def bar(total: int, name: str, options: argparse.Namespace) -> tqdm:
    """A progress bar over samples; silent where standard error is no terminal."""
    hidden = options.quiet or options.json
    return tqdm(total=total, desc=name, unit="sample", unit_scale=True, disable=True if hidden else None, leave=False)


def print_json(value: dict) -> None:
    print(json.dumps(value, indent=1))
