"""The spectral transform: an image-adaptive rotation of the bands in front of a model of one band.

It is the Karhunen-Loeve transform of the *gradients*: the eigenvectors of the covariance of
differences between neighbouring pixels. Nearly all bits are spent on detail, and bands share their
detail in another way than their mean levels. bench/spectral.py compares this with the usual choice,
the covariance of the samples. The rotation is (nearly) orthonormal, so a squared error of the
components is the same squared error of the bands. Components that stay far below the allowed error
everywhere are not coded at all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .. import blocks
from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer, pack_integers, unpack_integers

MOST_BANDS = 512  # of a rotation
_LEAST_PRECISION, _MOST_PRECISION = 6, 20
_CHUNK = 1 << 16  # pixels that are multiplied in one go
# A component is dropped where its energy in every block is below this share of the allowed error:
# quantization would leave nothing of it.
_DROPPED = 0.1
# Share of the allowed error that rounding the coefficients may move between components.
_LEAKED = 0.01
# With weights the other components take up most of it, and the control measures the rest.
_WEIGHTED_LEAKED = 0.1


@dataclass(frozen=True)
class Rotation:
    """bands = basis.T @ components, basis = steps / 2^precision; steps: (components, bands) int32,
    as the tile header keeps them."""

    steps: np.ndarray
    precision: int

    @property
    def components(self) -> int:
        """The number of components."""
        return len(self.steps)

    @cached_property
    def basis(self) -> np.ndarray:
        """Coefficients (components, bands), float64."""
        return self.steps / 2.0**self.precision

    def forward(self, bands: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the components (components, rows, cols) of bands (bands, rows, cols), float32. It
        is the least-squares inverse of `inverse`, so that rounded coefficients do no harm.

        weights: roots of the weights of squared errors (bands,); None if all bands weigh the same.
        """
        weighted = self.basis.T if weights is None else weights[:, None] * self.basis.T
        matrix = np.linalg.pinv(weighted)
        return _multiplied(matrix if weights is None else matrix * weights, bands)

    def inverse(self, components: np.ndarray) -> np.ndarray:
        """Return the bands (bands, rows, cols) of components (components, rows, cols), float32."""
        return _multiplied(self.basis.T, components)

    def pack(self, out: Writer) -> None:
        """Append size, precision and coefficients."""
        out.varint(self.components)
        out.varint(self.precision)
        out.part(pack_integers(self.steps))

    @classmethod
    def unpack(cls, reader: Reader, bands: int) -> Rotation:
        """Read the fields that `pack` wrote. Raises CorruptFileError."""
        components, precision = reader.varint(), reader.varint()
        if not 1 <= components <= bands <= MOST_BANDS or precision > _MOST_PRECISION:
            raise CorruptFileError("impossible spectral transform: the file is damaged")
        (steps,) = unpack_integers(reader.part(), components * bands)
        return cls(steps.reshape(components, bands), precision)


def fit(
    planes: np.ndarray, valid: np.ndarray, allowed: np.ndarray, block: int
) -> tuple[Rotation, np.ndarray]:
    """Return the rotation for a tile, and the energy that it drops per block and valid pixel (block
    rows, block cols), mean over the bands.

    planes: (bands, rows, cols) float32, without holes, in units in which an error weighs the same
    in all bands; valid: (rows, cols) bool, which pixels count; allowed: mean squared error per
    block (block rows, block cols), in squared units, NaN where no pixel counts."""
    basis = eigenvectors(gradient_covariance(planes, valid))
    per_block = _energies(_multiplied(basis, planes), valid, block)
    counts = per_block > _DROPPED * np.where(np.isnan(allowed), np.inf, allowed)
    kept = np.array([bool(component.any()) for component in counts])
    kept[0] |= not kept.any()
    rotation = _rounded(basis[kept], per_block.sum(0).max(), _LEAKED * np.nanmin(allowed))
    return rotation, per_block[~kept].sum(0) / len(planes)


def fit_weighted(
    planes: np.ndarray,
    valid: np.ndarray,
    basis: np.ndarray,
    weights: np.ndarray,
    allowed: np.ndarray,
    block: int,
) -> tuple[Rotation, np.ndarray]:
    """Return the rotation of weighted bands, and the energy that it drops per band, block and valid
    pixel (bands, block rows, block cols).

    planes, valid: as in `fit`; basis: (components, bands), orthonormal; weights: (bands,); allowed:
    mean squared error (bands, block rows, block cols) in squared units."""
    energy = np.tensordot(weights**2, _energies(planes, valid, block), 1).max()
    rotation = _rounded(basis / weights, energy, _WEIGHTED_LEAKED * allowed.min())
    missed = planes - rotation.inverse(rotation.forward(planes, weights))
    return rotation, _energies(missed, valid, block)


def _rounded(basis: np.ndarray, energy: float, leaked: float) -> Rotation:
    """Return `basis` (components, bands) rounded. The rounding moves at most an energy of `leaked`
    between components that have the given energy in total."""
    with np.errstate(divide="ignore"):
        ratio = energy / (12 * leaked)
        precision = int(np.clip(np.ceil(np.log2(ratio) / 2), _LEAST_PRECISION, _MOST_PRECISION))
    return Rotation(np.rint(basis * 2.0**precision).astype(np.int32), precision)


def gradient_covariance(planes: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return sums of products of the differences between neighbours, (bands, bands) float64.

    planes: (bands, rows, cols); valid: (rows, cols) bool. Horizontal and vertical neighbours that
    are both valid count."""
    bands, rows, cols = planes.shape
    total = np.zeros((bands, bands))
    step = max(1, _CHUNK // cols)
    for row in range(0, rows, step):
        part, there = planes[:, row : row + step + 1], valid[row : row + step + 1]
        across = np.diff(part[:, :step], axis=2)[:, there[:step, 1:] & there[:step, :-1]]
        down = np.diff(part, axis=1)[:, there[1:] & there[:-1]]
        total += across @ across.T
        total += down @ down.T
    return total


def eigenvectors(covariance: np.ndarray) -> np.ndarray:
    """Return the eigenvectors in rows, by falling eigenvalue. Their signs are free: the largest
    coefficient of each is positive."""
    basis = np.linalg.eigh(covariance)[1].T[::-1]
    largest = np.abs(basis).argmax(1)
    return basis * np.sign(basis[np.arange(len(basis)), largest])[:, None]


def _energies(components: np.ndarray, valid: np.ndarray, block: int) -> np.ndarray:
    """Return the mean square of components (components, rows, cols) over the valid pixels of each
    block, 0 where there are none."""
    number = np.maximum(blocks.sums(valid, block), 1)
    return np.stack(
        [
            blocks.square_sums(np.where(valid, c, 0).astype(np.float64), block) / number
            for c in components
        ]
    )


def _multiplied(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return a matrix (n, m) times planes (m, rows, cols) float32, as (n, rows, cols) float32. It
    is computed in float64, in parts."""
    flat = planes.reshape(len(planes), -1)
    out = np.empty((len(matrix), flat.shape[1]), np.float32)
    for at in range(0, flat.shape[1], _CHUNK):
        out[:, at : at + _CHUNK] = matrix @ flat[:, at : at + _CHUNK].astype(np.float64)
    return out.reshape(-1, *planes.shape[1:])
