"""The ways to code a group of bands. Each is one class with both directions.

A `GroupCoding` is a group as it is in the file. The encoder makes one with a class method and keeps
it in an `EncodedGroup`, beside the samples that it decodes to; `write` appends it to the tile. The
decoder gets it with `read` and turns it into samples with `decode`. The groups of a tile all come
first, then the latents of those that the network codes, in the same order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from ..errors import CorruptFileError
from ..format.bytestream import Reader, Writer
from ..network.model import Model
from . import lossless, spectral
from .band_group import BandGroup, CodedGroup
from .control import LEAST, encode_group, error_ratio, normalized_target
from .groups import MODES, Mode, first_valid
from .header import TileHeader, TileInput
from .latents import LatentReader
from .normalize import NormalizationCode
from .predictive import decode as predictive_decode
from .predictive import encode as predictive_encode
from .quality_model import least_levels
from .reconstruct import Reconstruction, read_fraction
from .targets import ErrorTarget, LambdaTarget


@dataclass(frozen=True)
class EncodedGroup:
    """A group that the encoder has coded.

    decoded: the samples (bands, rows, cols) that the decoder will have, before special values are
    restored; network: levels and streams, if the network codes it; floor_limited, ceiling_limited:
    see `TileReport`."""

    coding: GroupCoding
    decoded: np.ndarray
    network: CodedGroup | None = None
    floor_limited: int = 0
    ceiling_limited: int = 0

    @property
    def bands(self) -> slice:
        """The bands of the group."""
        return self.coding.bands


@dataclass(frozen=True)
class GroupCoding(ABC):
    """A group of neighbouring bands in the form that the file has."""

    bands: slice
    mode: ClassVar[Mode]

    @property
    def lossy(self) -> bool:
        """True if the tile records the errors of the blocks."""
        return False

    @property
    def bit_exact(self) -> bool:
        """True if the samples are kept under the masks of the tile, too."""
        return False

    @classmethod
    def most_bands(cls, header: TileHeader, model: Model) -> int:
        """Return the number of bands that a group may have."""
        return model.bands

    @abstractmethod
    def write(self, out: Writer) -> None:
        """Append the group without its latents."""

    @classmethod
    @abstractmethod
    def read(cls, reader: Reader, bands: slice, header: TileHeader, model: Model) -> Self:
        """Read what `write` wrote. Raises CorruptFileError."""

    @abstractmethod
    def decode(self, header: TileHeader, latents: LatentReader) -> np.ndarray:
        """Return the samples (bands, rows, cols). Raises CorruptFileError."""


@dataclass(frozen=True)
class Empty(GroupCoding):
    """Bands without a valid pixel."""

    mode = Mode.EMPTY

    @classmethod
    def encode(cls, tile: TileInput, bands: slice) -> EncodedGroup:
        """Code bands without a valid pixel."""
        return EncodedGroup(cls(bands), np.zeros_like(tile.samples[bands]))

    def write(self, out: Writer) -> None:
        """Append nothing."""

    @classmethod
    def read(cls, reader: Reader, bands: slice, header: TileHeader, model: Model) -> Self:
        """Read nothing."""
        return cls(bands)

    def decode(self, header: TileHeader, latents: LatentReader) -> np.ndarray:
        """Return zeros."""
        size = self.bands.stop - self.bands.start
        return np.zeros((size, *header.shape[1:]), header.dtype)


@dataclass(frozen=True)
class Constant(GroupCoding):
    """Bands whose valid pixels have one value. values: (bands,)."""

    values: np.ndarray
    mode = Mode.CONSTANT

    @classmethod
    def encode(cls, tile: TileInput, bands: slice) -> EncodedGroup:
        """Code bands whose valid pixels have one value in each."""
        values = first_valid(tile.samples[bands], tile.valid[bands])
        decoded = np.broadcast_to(values[:, None, None], tile.samples[bands].shape)
        return EncodedGroup(cls(bands, values), decoded)

    def write(self, out: Writer) -> None:
        """Append the values."""
        out.data += self.values.astype(self.values.dtype.newbyteorder("<")).tobytes()

    @classmethod
    def read(cls, reader: Reader, bands: slice, header: TileHeader, model: Model) -> Self:
        """Read the values."""
        little = header.dtype.newbyteorder("<")
        data = reader.take((bands.stop - bands.start) * little.itemsize)
        return cls(bands, np.frombuffer(data, little))

    def decode(self, header: TileHeader, latents: LatentReader) -> np.ndarray:
        """Return the values in all pixels."""
        shape = (len(self.values), *header.shape[1:])
        return np.broadcast_to(self.values[:, None, None], shape)


@dataclass(frozen=True)
class Lossless(GroupCoding):
    """One band of few values or noise, bit for bit. data: see `lossless`."""

    data: bytes
    mode = Mode.LOSSLESS

    @property
    def bit_exact(self) -> bool:
        """True: the band is kept as it is."""
        return True

    @classmethod
    def encode(cls, tile: TileInput, band: int) -> EncodedGroup:
        """Code one band."""
        bands = slice(band, band + 1)
        return EncodedGroup(cls(bands, lossless.pack(tile.samples[band])), tile.samples[bands])

    @classmethod
    def most_bands(cls, header: TileHeader, model: Model) -> int:
        """Return 1."""
        return 1

    def write(self, out: Writer) -> None:
        """Append the data."""
        out.part(self.data)

    @classmethod
    def read(cls, reader: Reader, bands: slice, header: TileHeader, model: Model) -> Self:
        """Read the data."""
        return cls(bands, reader.part())

    def decode(self, header: TileHeader, latents: LatentReader) -> np.ndarray:
        """Return the band."""
        return lossless.unpack(self.data, header.shape[1:], header.dtype)[None]


@dataclass(frozen=True)
class Predictive(GroupCoding):
    """Bands that are predicted pixel by pixel from each other. data: see `predictive`."""

    data: bytes
    mode = Mode.PREDICTIVE

    @property
    def lossy(self) -> bool:
        """True if any sample may be off."""
        return predictive_decode.is_lossy(self.data)

    @property
    def bit_exact(self) -> bool:
        """True if the samples are kept under the masks, too."""
        return predictive_decode.is_bit_exact(self.data)

    @classmethod
    def encode_bounded(
        cls, tile: TileInput, bands: slice, bound: np.ndarray, bit_exact: bool
    ) -> EncodedGroup:
        """Code bands with a largest error for every valid pixel, in digital numbers (bands,).
        bit_exact: keep what is under the masks, too."""
        samples = tile.samples[bands]
        valid = np.ones(samples.shape, bool) if bit_exact else tile.valid[bands]
        data, decoded = predictive_encode.encode_bounded(
            samples, valid, tile.nodata[bands], bound, tile.block, bit_exact
        )
        return EncodedGroup(cls(bands, data), decoded)

    @classmethod
    def encode_for(
        cls, tile: TileInput, bands: slice, mse: np.ndarray, most: int
    ) -> EncodedGroup | None:
        """Code bands for a mean squared error of every block (bands, block rows, block cols).
        Return None if that takes more than `most` bytes."""
        coded = predictive_encode.encode_for(
            tile.samples[bands], tile.valid[bands], tile.nodata[bands], mse, tile.block, most
        )
        return coded and EncodedGroup(cls(bands, coded[0]), coded[1])

    @classmethod
    def size_of_rows(
        cls, tile: TileInput, bands: slice, mse: np.ndarray, rows: slice, most: int
    ) -> int | None:
        """Return the bytes that some rows of blocks would take by themselves; see `encode_for`."""
        pixels = slice(rows.start * tile.block, rows.stop * tile.block)
        coded = predictive_encode.encode_for(
            tile.samples[bands, pixels],
            tile.valid[bands, pixels],
            tile.nodata[bands],
            mse[:, rows],
            tile.block,
            most,
        )
        return None if coded is None else len(coded[0])

    @classmethod
    def most_bands(cls, header: TileHeader, model: Model) -> int:
        """Return the number of bands of the tile."""
        return header.shape[0]

    def write(self, out: Writer) -> None:
        """Append the data."""
        out.part(self.data)

    @classmethod
    def read(cls, reader: Reader, bands: slice, header: TileHeader, model: Model) -> Self:
        """Read the data."""
        return cls(bands, reader.part())

    def decode(self, header: TileHeader, latents: LatentReader) -> np.ndarray:
        """Return the predicted samples; those of pixels that are not valid are undefined unless the
        group is bit-exact."""
        valid, nodata = header.valid[self.bands], header.nodata[self.bands]
        return predictive_decode.decode(
            self.data, valid.shape, header.dtype, valid, nodata, header.block
        )


@dataclass(frozen=True)
class Transform(GroupCoding):
    """Bands that the model takes at once. reconstruction: with a normalization for each band that
    the model takes, the last band repeated if there are fewer."""

    reconstruction: Reconstruction
    mode = Mode.TRANSFORM

    @property
    def lossy(self) -> bool:
        """True."""
        return True

    @classmethod
    def encode(
        cls, tile: TileInput, bands: slice, target: ErrorTarget | LambdaTarget, model: Model
    ) -> EncodedGroup:
        """Code up to as many bands as the model takes."""
        index = np.minimum(np.arange(bands.start, bands.start + model.bands), bands.stop - 1)
        group = BandGroup.direct(tile.samples[index], tile.valid[index], model, tile.block)
        return _encoded(cls(bands, group.reconstruction), group, target.for_bands(index))

    def write(self, out: Writer) -> None:
        """Append the normalization and the precision."""
        for code in self.reconstruction.normalization:
            code.write(out)
        self.reconstruction.write_fraction(out)

    @classmethod
    def read(cls, reader: Reader, bands: slice, header: TileHeader, model: Model) -> Self:
        """Read normalization and precision."""
        codes = [NormalizationCode.read(reader) for _ in range(model.bands)]
        return cls(bands, Reconstruction(codes, None, read_fraction(reader, model)))

    def decode(self, header: TileHeader, latents: LatentReader, finest: int = 0) -> np.ndarray:
        """Return what the synthesis makes of the latents; with `finest` for 1/2^finest of the rows
        and columns."""
        levels, components = latents.next_group(self.reconstruction.components)
        _, rows, cols = header.shape
        side = -(-rows >> finest), -(-cols >> finest)
        decoded = self.reconstruction.samples(
            components, levels, side, header.dtype, latents.model, finest
        )
        return decoded[: self.bands.stop - self.bands.start]


@dataclass(frozen=True)
class Spectral(Transform):
    """Bands that a spectral transform turns into components for a model of one band."""

    mode = Mode.SPECTRAL

    @classmethod
    def encode(
        cls, tile: TileInput, bands: slice, target: ErrorTarget | LambdaTarget, model: Model
    ) -> EncodedGroup:
        """Code any number of bands."""
        samples, valid = tile.samples[bands], tile.valid[bands]
        allowed = target.allowed_error(tile.grid)[bands]
        weighted = isinstance(target, ErrorTarget) and target.weighs_bands
        make = BandGroup.weighted_spectral if weighted else BandGroup.spectral
        group = make(samples, valid, model, tile.block, allowed)
        return _encoded(cls(bands, group.reconstruction), group, target.for_bands(bands))

    @classmethod
    def most_bands(cls, header: TileHeader, model: Model) -> int:
        """Return the largest number of bands of a transform, 0 for a model of several bands."""
        return spectral.MOST_BANDS if model.bands == 1 else 0

    def write(self, out: Writer) -> None:
        """Append the normalization, the transform and the precision."""
        for code in self.reconstruction.normalization:
            code.write(out)
        assert self.reconstruction.rotation is not None
        self.reconstruction.rotation.pack(out)
        self.reconstruction.write_fraction(out)

    @classmethod
    def read(cls, reader: Reader, bands: slice, header: TileHeader, model: Model) -> Self:
        """Read normalization, transform and precision."""
        size = bands.stop - bands.start
        codes = [NormalizationCode.read(reader) for _ in range(size)]
        rotation = spectral.Rotation.unpack(reader, size)
        return cls(bands, Reconstruction(codes, rotation, read_fraction(reader, model)))


CODINGS: dict[int, type[GroupCoding]] = {
    coding.mode: coding for coding in (Empty, Constant, Transform, Lossless, Spectral, Predictive)
}


def _encoded(
    coding: GroupCoding, group: BandGroup, target: ErrorTarget | LambdaTarget
) -> EncodedGroup:
    """Code a group by the network, and count the blocks at the ends of its range of levels."""
    coded = encode_group(group, target)
    decoded = coded.decoded[: coding.bands.stop - coding.bands.start]
    if isinstance(target, LambdaTarget):
        return EncodedGroup(coding, decoded, coded)
    least = least_levels(normalized_target(group, target), group.model)
    lowest, highest = coded.levels <= least, coded.levels == group.model.highest
    if not (lowest | highest).any():
        return EncodedGroup(coding, decoded, coded)
    ratio = error_ratio(group, coded.decoded, target)
    floor_limited = int((lowest & (ratio < LEAST)).sum())
    ceiling_limited = int((highest & (ratio > 1)).sum())
    return EncodedGroup(coding, decoded, coded, floor_limited, ceiling_limited)


def write_group(coding: GroupCoding, out: Writer) -> None:
    """Append mode and number of bands, then the group."""
    out.varint(coding.mode + MODES * (coding.bands.stop - coding.bands.start))
    coding.write(out)


def read_group(reader: Reader, first: int, header: TileHeader, model: Model) -> GroupCoding:
    """Read the group that begins with band `first`. Raises CorruptFileError."""
    size, mode = divmod(reader.varint(), MODES)
    coding = CODINGS.get(mode)
    if coding is None:
        raise CorruptFileError(
            "a tile has an unknown mode: the file is damaged or made by a newer isoq"
        )
    if not 0 < size <= min(coding.most_bands(header, model), header.shape[0] - first):
        raise CorruptFileError("a tile has an impossible number of bands: the file is damaged")
    return coding.read(reader, slice(first, first + size), header, model)
