"""Compare isoq with still pictures of video codecs, one band of every test image:
results/video.csv, in three ranges of rates.

Needs ffmpeg with libx265 and libaom (pip install imageio-ffmpeg)."""

from __future__ import annotations

import sys

from evaluate import arguments, results_of, run

from isoq.evaluate.tables import Row, markdown, range_table, read


def show(rows: list[Row]) -> None:
    """Print the table of the rows."""
    print(markdown(range_table(rows, joint=False)))


def main() -> None:
    snr = [10.0, 16.0, 22.0, 28.0, 34.0]
    parser = arguments(__doc__, "video", snr, "jpeg2000,hevc")
    parser.set_defaults(bands=1)
    options = parser.parse_args()
    status = 0 if options.no_run else run(options)
    if status != 2:
        show(read(results_of(options.name)))
    sys.exit(status)


if __name__ == "__main__":
    main()
