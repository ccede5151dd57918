"""Limits on what a file may ask of its reader. They protect against small files that would fill the
memory.

Opening a file of n bytes takes at most 35 n bytes (places of the tiles). Each of its JSON parts
takes at most 0.5 GB: LARGEST_TEXT, and up to 29 bytes of objects per character. With the shipped
model, decoding a tile takes 60 bytes per sample, its sides padded as the transforms need it. That
is 60 MB for a tile of 1024 x 1024, and 4 GB for the largest that is allowed; a decoded tile keeps
12 of the 60 bytes. Each thread decodes one tile and may hold another two. A model that comes with a
file may take 4 KB per latent instead (see `growth`).

Reading a whole image allocates it, as large as its description says, and 28 bytes can announce a
tile of one value. Programs that read files of strangers should look at the description first, or
read windows."""

from __future__ import annotations

LARGEST_TEXT = 1 << 24  # bytes of a JSON part
LARGEST_SIDE = 1 << 13  # pixels of a tile's side, and of a block's
LARGEST_TILE = (
    1 << 26
    # samples of a tile, each band padded: a thin tile takes as much memory as the square that it is
    # padded to
)
