"""Run by QGIS's own Python: open an image as a raster layer, and save what QGIS reads and shows.

qgis_layer.py IMAGE FOLDER writes FOLDER/read.npz with
- whole: all samples (bands, rows, cols); window: those of `WINDOW`; reduced: a quarter of them;
- shown: the layer as the map shows it, pixel by pixel (rows, cols, red green blue);
- overview: the map at a quarter of the size."""

import sys

import numpy as np
from qgis.core import (
    QgsApplication,
    QgsContrastEnhancement,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsMultiBandColorRenderer,
    QgsRasterLayer,
    QgsRectangle,
)
from qgis.PyQt.QtCore import QEventLoop, QSize
from qgis.PyQt.QtGui import QImage

WINDOW = (20, 30, 150, 100)  # first row, first column, rows, columns


def samples(layer, row, col, rows, cols, shape):
    """Return the samples of a window as an array (bands, *shape)."""
    extent, x, y = layer.extent(), layer.rasterUnitsPerPixelX(), layer.rasterUnitsPerPixelY()
    left, top = extent.xMinimum() + col * x, extent.yMaximum() - row * y
    window = QgsRectangle(left, top - rows * y, left + cols * x, top)
    provider = layer.dataProvider()
    kinds = {1: "uint8", 2: "uint16", 3: "int16", 5: "int32", 6: "float32"}
    bands = []
    for band in range(1, layer.bandCount() + 1):
        block = provider.block(band, window, shape[1], shape[0])
        assert block.isValid(), block.error().message()
        bands.append(np.frombuffer(bytes(block.data()), kinds[int(block.dataType())]))
    return np.stack(bands).reshape(-1, *shape)


def shown(layer, shape):
    """Return the layer as the map shows it (rows, cols, 3), with samples as colours."""
    provider = layer.dataProvider()
    renderer = QgsMultiBandColorRenderer(provider, 1, 2, 3)
    for band, give in (
        (1, renderer.setRedContrastEnhancement),
        (2, renderer.setGreenContrastEnhancement),
        (3, renderer.setBlueContrastEnhancement),
    ):
        plain = QgsContrastEnhancement(provider.dataType(band))
        plain.setContrastEnhancementAlgorithm(QgsContrastEnhancement.NoEnhancement)
        give(plain)
    layer.setRenderer(renderer)
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(layer.extent())
    settings.setOutputSize(QSize(shape[1], shape[0]))
    job, loop = QgsMapRendererParallelJob(settings), QEventLoop()
    job.finished.connect(loop.quit)
    job.start()
    loop.exec_()
    assert not job.errors(), [error.message for error in job.errors()]
    image = job.renderedImage().convertToFormat(QImage.Format_RGBX8888)
    return np.frombuffer(image.bits().asstring(image.byteCount()), np.uint8).reshape(*shape, 4)[
        ..., :3
    ]


def main(image, folder):
    app = QgsApplication([], False)
    app.initQgis()
    layer = QgsRasterLayer(image, "image")
    assert layer.isValid(), layer.error().message()
    shape = layer.height(), layer.width()
    quarter = shape[0] // 4, shape[1] // 4
    np.savez(
        f"{folder}/read.npz",
        whole=samples(layer, 0, 0, *shape, shape),
        window=samples(layer, *WINDOW, WINDOW[2:]),
        reduced=samples(layer, 0, 0, *shape, quarter),
        shown=shown(layer, shape),
        overview=shown(layer, quarter),
    )
    del layer  # before what it is made of
    app.exitQgis()


if __name__ == "__main__":
    main(*sys.argv[1:])
