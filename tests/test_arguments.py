"""Arguments of the public functions that cannot be used: one clear error for each."""

import inspect
import io
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from cases import terrain
from images import make, one_line

import isoq
from isoq.errors import ArgumentError, InputError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

ODD = [
    *(None, True, 0, -1, 1.5, 2j, float("nan"), float("inf"), 10**40, "", "x", "a\nb", b"x"),
    *([], [1, "a"], [None], (1, 2, 3), {}, {"a": 1}, set(), range(0), slice(None), object()),
    *(np.array([]), np.array([[1.0, 2.0]]), np.array("a"), np.datetime64("2020"), np.ma.masked),
    *(Path("nowhere/x"), io.BytesIO(b"abc"), io.StringIO("a"), len, Path),
]


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """Public functions, each with arguments that it can use."""
    folder = tmp_path_factory.mktemp("calls")
    pixels = terrain(1, 32, 24, "uint16")
    make(folder / "a.tif", pixels)
    data = isoq.compress(pixels, mse=9)
    (folder / "a.isoq").write_bytes(data)
    tif, file = folder / "a.tif", folder / "a.isoq"
    src = isoq.open(file)
    return {
        isoq.compress: {"array": pixels, "mse": 9},
        isoq.decompress: {"data": data},
        isoq.open: {"source": file},
        isoq.compress_file: {"src": tif, "dst": folder / "b.isoq", "mse": 9, "overwrite": True},
        isoq.decompress_file: {"src": file, "dst": folder / "b.tif", "overwrite": True},
        isoq.info: {"source": file},
        isoq.verify: {"source": file},
        isoq.advise: {"image": tif},
        isoq.estimate: {"image": tif, "targets": isoq.Target("mse", 9)},
        isoq.load_model: {"name": "eo16"},
        isoq.Target: {"kind": "mse", "value": 9},
        src.read: {},
        src.sample: {"xy": [(1, 1)]},
        src.overviews: {},
        src.dataset_mask: {},
        src.tags: {},
        src.xy: {"row": 1, "col": 2},
        src.index: {"x": 1, "y": 2},
        src.window: {"left": 1, "bottom": 9, "right": 5, "top": 2},
        src.window_bounds: {"window": ((0, 2), (1, 3))},
        src.window_transform: {"window": ((0, 2), (1, 3))},
    }


NAMES = (
    *("compress", "decompress", "open", "compress_file", "decompress_file", "info", "verify"),
    *("estimate", "load_model", "Target", "read", "sample", "overviews", "dataset_mask", "tags"),
    *("xy", "index", "window", "window_bounds", "window_transform"),
)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_odd_values_raise_an_error_of_isoq_or_are_taken(calls, number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where files named "x" may appear
    function, good = list(calls.items())[number]
    for name, parameter in inspect.signature(function).parameters.items():
        kind = str(parameter.annotation)
        for value in ODD:
            if callable(value) and kind.startswith(("Progress", "Callable")):
                continue  # it is taken, and fails when it is called
            with warnings.catch_warnings(action="ignore"), suppress(isoq.IsoqError):
                function(**good | {name: value})


def test_an_argument_that_a_function_does_not_have_is_named_with_the_nearest(calls):
    for function, good in calls.items():
        if function is isoq.Target:  # a dataclass, for which Python says it
            continue
        with one_line(ArgumentError, function.__name__, "has no argument `per_bands`"):
            function(**good, per_bands=True)
        with pytest.raises(TypeError, match="too many positional arguments; see help"):
            function(*range(40))
    with one_line(ArgumentError, "`max_err`, but `max_error`"):
        isoq.compress(terrain(1, 8, 8, "uint8"), max_err=1)
    with one_line(ArgumentError, "isoq.compress_file: missing a required argument: 'src'"):
        isoq.compress_file()


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"lossless": 1}, "`lossless=1`: must be True or False, not int"),
        ({"block": 64.0}, "`block=64`: must be a whole number, not float"),
        ({"predictor": b"isoq"}, "`predictor=b'isoq'`: must be a text, not bytes"),
        ({"model": 3}, "`model=3`: must be a name, a folder or what load_model returns, not int"),
    ],
)
def test_a_value_of_another_type_is_named_with_it(keywords, message):
    with one_line(InputError, message):
        isoq.compress(terrain(1, 8, 8, "uint8"), mse=1, **keywords)


def test_whole_numbers_and_truth_values_of_numpy_are_taken():
    pixels = terrain(1, 40, 40, "uint8")
    plain = isoq.compress(pixels, mse=9, block=16, tile=32, single_pass=True)
    keywords = {"block": np.int64(16), "tile": np.uint8(32), "single_pass": np.True_}
    assert isoq.compress(pixels, mse=9, **keywords) == plain


def test_messages_have_one_line_even_about_files_whose_names_have_more():
    with one_line(InputError, "a b.isoq: cannot be opened"):
        isoq.open("a\nb.isoq")
