"""The report: one HTML file with tables, plots and pictures, which loads nothing else."""

from __future__ import annotations

import base64
import html
import json
from importlib.resources import files
from pathlib import Path
from string import Template

from . import pictures
from .images import Group
from .plots import PLOTS
from .tables import (
    LEAST,
    MOST,
    NAMES,
    Row,
    Table,
    accuracy_table,
    appearance_table,
    delta_table,
    main_rows,
    rate_table,
    speed_table,
)


def page(
    rows: list[Row], failures: list[str], about: dict, shown: list[Group], folder: Path
) -> tuple[str, dict[str, bytes]]:
    """Return the report, and its plots as PNG by name. folder: where the pictures are."""
    drawn = {name: draw(rows) for name, draw in PLOTS.items()} if rows else {}
    parts = [_facts(about, rows)]
    if failures:
        parts.append(
            "<h2>Failed</h2><ul "
            f"class='failed'>{''.join(f'<li>{html.escape(line)}</li>' for line in failures)}</ul>"
        )
    if rows:
        parts += [
            _section(
                "Rate against JPEG 2000",
                "Bjøntegaard's delta rate in percent, over the part of the JPEG 2000 curve between "
                f"{LEAST:g} and {MOST:g} bit/sample. Less is better. Values are geometric means.",
                delta_table(rows, False),
                delta_table(rows, True),
            ),
            _plot("Rate and distortion", drawn["rate-distortion"]),
            _section(
                "Bit/sample at equal error",
                "Rates at the error that the closed loop of isoq reaches. The rates of the other "
                "codecs are interpolated on their own curves.",
                rate_table(rows, False),
                rate_table(rows, True),
            ),
            _section(
                "Accuracy",
                "Error divided by target, as medians over the rows. A codec with “one shot” chose "
                "its setting itself.",
                accuracy_table(rows),
            ),
            _plot("Errors of the blocks", drawn["block-errors"]),
            _section(
                "At the same squared error",
                "Medians over the rows that all codecs have in common.",
                appearance_table(rows),
            ),
            _section(
                "Speed and memory",
                "Medians over single bands, on one thread. Memory excludes the image and the "
                "program.",
                speed_table(rows),
            ),
            _plot("Speed against rate", drawn["speed"]),
        ]
    viewers = [_viewer(number, group, folder, rows) for number, group in enumerate(shown)]
    if any(viewers):
        parts.append(
            "<h2>Images</h2><p>The images show the largest error that was requested. The slider "
            "moves the border between the left and the right image. Errors are red where "
            "the decoded value is too high, and blue where it is too low.</p>"
        )
        parts += viewers
    here = files(__package__) / "page"
    text = Template((here / "report.html").read_text(encoding="utf-8"))
    texts = {name: (here / f"report.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return text.substitute(body="\n".join(part for part in parts if part), **texts), drawn


def _facts(about: dict, rows: list[Row]) -> str:
    """Return the list of circumstances: command, model, machine, images, targets, versions."""
    peers = ", ".join(f"{NAMES[name]}: {text}" for name, text in about["peers"].items())
    facts = {
        "command": f"{about['command']} ({about['commit'] or 'isoq ' + about['versions']['isoq']})",
        "model": " ".join(about["model"]),
        "machine": f"{about['machine']['cpu']}, {about['machine']['cores']} cores",
        "images": f"{about['files']} files, {about['groups']} groups of bands, {len(rows)} rows",
        "targets": json.dumps(about["targets"]).strip("{}").replace('"', ""),
        "codecs": peers,
    }
    lines = "".join(
        f"<dt>{key}</dt><dd>{html.escape(str(value))}</dd>" for key, value in facts.items()
    )
    return f"<dl>{lines}</dl>"


def _section(title: str, text: str, *tables: Table) -> str:
    """Return a section of tables, or nothing if all of them are empty."""
    filled = [_table(table) for table in tables if table[1]]
    return f"<h2>{title}</h2><p>{text}</p>{''.join(filled)}" if filled else ""


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in table[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in line) + "</tr>"
        for line in table[1]
    )
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div class='wide'>{whole}</div>"


def _plot(title: str, png: bytes) -> str:
    return (
        f"<figure><img alt='{html.escape(title)}' "
        f"src='{_inline(png)}'><figcaption>{html.escape(title)}</figcaption></figure>"
    )


def _viewer(number: int, group: Group, folder: Path, rows: list[Row]) -> str:
    """Return a viewer: two images under a slider and a third beside them, or nothing if there are
    no pictures."""
    layers: dict[str, Path] = {}
    for codec in pictures.CODECS:
        if pictures.written(folder, group, codec):
            found = pictures.files(folder, group, codec)
            layers |= {
                "original": found["original"],
                NAMES[codec]: found[codec],
                f"error of {NAMES[codec]}": found["error"],
            }
    if not layers:
        return ""
    names = list(layers)
    images = "".join(
        f"<img data-layer='{html.escape(n)}' alt='{html.escape(n)}' "
        f"src='{_inline(p.read_bytes())}'>"
        for n, p in layers.items()
    )
    selects = "".join(
        f"<label>{side} <select data-side='{side}'>"
        + "".join(
            f"<option{' selected' if name == names[default] else ''}>{html.escape(name)}</option>"
            for name in names
        )
        + "</select></label>"
        for side, default in (("left", 0), ("right", 1), ("beside", 2))
    )
    own = [
        row
        for row in main_rows(rows)
        if (row["file"], row["bands"]) == (group.path.name, group.name)
    ]
    own = [row for row in own if row["codec"] in pictures.CODECS]
    coarsest = max(
        (row["target"] for row in own), default=None
    )  # the target that the pictures show
    sizes = ", ".join(
        f"{NAMES[str(row['codec'])]} {row['bits']:.3f} bit/sample"
        for row in own
        if row["target"] == coarsest
    )
    title = html.escape(f"{group.stratum}: {group.path.name}, band {group.name}: {sizes}")
    return (
        f"<section class='viewer' id='viewer{number}'><h3>{title}</h3><div "
        f"class='controls'>{selects}</div>"
        "<div class='stage'><div class='swipe'><div class='under'></div><div "
        "class='over'></div><div class='line'></div></div>"
        f"<div class='beside'></div></div>"
        "<input type='range' min='0' max='100' step='0.5' value='50' aria-label='border between "
        "left and right'>"
        f"<div class='store' hidden>{images}</div></section>"
    )


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
