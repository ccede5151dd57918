"""rio-tiler, which makes the tiles of maps, and titiler, which serves them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any
from xml.etree import ElementTree

from rasterio import Env
from rasterio.io import DatasetReader, MemoryFile
from rio_tiler.io import Reader
from rio_tiler.models import ImageData, PointData

from ..api.dataset import open as open_isoq
from ..raster.gdal_metadata import open_dataset
from .vrt import SETTING, place_of, vrt_element


class IsoqReader(Reader):
    """The reader of .isoq files for rio-tiler: `IsoqReader("scene.isoq")`.

    It has the methods of rio-tiler's `Reader`, which reads a VRT in memory here. A tile, a part or
    a preview at a small scale is made from the reduced image that has just enough pixels, and
    decodes no more of the file than that.

    input: a path or URL. Raises what `isoq.open` raises."""

    input: str

    def __attrs_post_init__(self) -> None:
        self.dataset = _opened(self.input, self._ctx_stack)
        super().__attrs_post_init__()

    def read(self, *args: Any, **options: Any) -> ImageData:
        with Env(**SETTING):
            return super().read(*args, **options)

    def part(self, *args: Any, **options: Any) -> ImageData:
        with Env(**SETTING):
            return super().part(*args, **options)

    def point(self, *args: Any, **options: Any) -> PointData:
        with Env(**SETTING):
            return super().point(*args, **options)


def _opened(source: str, stack: ExitStack) -> DatasetReader:
    """Return an .isoq file as GDAL sees it, until the stack is closed."""

    def keep(text: str) -> str:
        return stack.enter_context(MemoryFile(text.encode(), ext=".vrt")).name

    location = place_of(source)
    with open_isoq(location) as image:
        root, _ = vrt_element(image, location, keep)
    return stack.enter_context(open_dataset(keep(ElementTree.tostring(root, "unicode"))))
