"""What a file may ask of its reader, whatever it claims: the rule against small files that mean to
fill the memory.

Opening a file of n bytes takes at most 35 n bytes (places of the tiles), and at most 0.5 GB for
each of its JSON parts: LARGEST_TEXT, and up to 29 bytes of objects per character. Decoding a tile
takes, with the shipped model, 60 bytes per sample, its sides padded as the transforms need it: 60
MB for a tile of 1024 x 1024, 4 GB for the largest that there may be; a decoded tile keeps 12 of
them. Each thread decodes one tile and may hold another two. A model that comes with a file may take
4 KB per latent instead (see `growth`). Reading a whole image allocates it, as large as its
description says, and 28 bytes can announce a tile of one value: who reads files of strangers looks
at the description first, or reads windows."""

from __future__ import annotations

LARGEST_TEXT = 1 << 24  # bytes of a JSON part
LARGEST_SIDE = 1 << 13  # pixels of a tile's side, and of a block's
LARGEST_TILE = (
    1 << 26
    # samples of a tile, each band padded: a thin tile takes as much memory as the square that it is
    # padded to
)
