"""`rio isoq`: commands of isoq as a plugin of the command line of rasterio."""

from __future__ import annotations

import click

from . import COMMANDS, main


@click.group(help="Fixed-quality neural compression, as with the command isoq.")
def isoq() -> None:
    pass


def _add(name: str) -> None:
    @isoq.command(
        name,
        help=COMMANDS[name][1],
        context_settings={"ignore_unknown_options": True},
        add_help_option=False,
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def command(context: click.Context, arguments: tuple[str, ...]) -> None:
        context.exit(main([name, *arguments]))


for _name in ("compress", "decompress", "info"):
    _add(_name)
