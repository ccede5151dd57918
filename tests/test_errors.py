"""Errors: what they derive from, one line each, in the caller's words."""

import ast
import inspect
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from images import one_line

from isoq import errors
from isoq.cli.messages import in_options
from isoq.codec.polygons import Polygons
from isoq.codec.target import Target
from isoq.errors import InputError, OutputExistsError, argument
from isoq.raster.description import Description
from isoq.raster.guard import guard
from isoq.storage.local import atomic

PACKAGE = Path(errors.__file__).parent
KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if not issubclass(kind, Warning)
]


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_isoq_errors_and_survive_pickling(kind):
    error = pickle.loads(pickle.dumps(kind("a.tif: is bad; mend it")))
    assert isinstance(error, errors.IsoqError)
    assert type(error) is kind
    assert str(error) == "a.tif: is bad; mend it"


def test_an_error_can_be_made_as_libraries_of_remote_tasks_make_it():
    for kind in KINDS:
        error = kind.__new__(kind)
        error.args = ("a.tif: is bad; mend it",)
        assert str(error) == "a.tif: is bad; mend it"


def test_errors_can_be_caught_as_builtin_ones():
    assert issubclass(InputError, ValueError)
    assert issubclass(OutputExistsError, FileExistsError)


def test_guards_pass_errors_of_isoq_unchanged(tmp_path):
    (tmp_path / "b.isoq").write_text("taken")
    with one_line(InputError, "inner; mend it") as caught, guard("outer", "cannot be read"):
        raise InputError("inner; mend it")
    assert str(caught.value) == "inner; mend it"
    with (
        one_line(OutputExistsError) as caught,
        atomic(tmp_path / "a.isoq", False),
        atomic(tmp_path / "b.isoq", False),
    ):
        pass
    assert str(caught.value).count("b.isoq") == 1
    assert "a.isoq" not in str(caught.value)


def test_polygons_name_their_file_once(tmp_path):
    path = tmp_path / "points.geojson"
    path.write_text('{"type": "Point", "coordinates": [1, 2]}')
    with one_line(InputError, "holds a Point") as caught:
        Polygons(path, Description(1, 8, 8, "uint8", (None,)))
    assert str(caught.value).count("points.geojson") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-1, "-1"),
        (0.25, "0.25"),
        (np.float32(25), "25"),
        (np.array(3), "3"),
        ([1, 2.5], "(1, 2.5)"),
        (np.array([1.0, 2.0]), "(1, 2)"),
        ("a\nb`c", "'a\\nbc'"),
        (None, "None"),
    ],
)
def test_arguments_are_written_as_in_python(value, text):
    assert argument("max_error", value) == f"`max_error={text}`"


def test_the_command_line_says_options():
    message = (
        f"{argument('max_error', (1, 2))}: bad {argument('predictor', 'none')}; give "
        "`overwrite=True` or `lossless_bands`"
    )
    assert in_options(message) == (
        "--max-error 1,2: bad --predictor none; give --overwrite or --lossless-bands"
    )


def test_the_library_speaks_of_arguments_and_not_of_options():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] == "cli":
            continue
        tree = ast.parse(path.read_text())
        raised = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
        for node in (inner for outer in raised for inner in ast.walk(outer)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                # a whole command, such as `isoq decompress --keep-going`, is no option alone
                text = re.sub(r"isoq [a-z]+ --[a-z-]+", "", node.value)
                if re.search(r"(?:^|[\s(])--[a-z]", text):
                    wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {text[:60]}")
    assert not wrong


@pytest.mark.parametrize(
    "value", ["25", True, 2j, {"a": 1}, [[1, 2]], [1, [2]], [True], object(), None, b"1"]
)
def test_a_target_that_is_no_number_is_refused(value):
    with one_line(InputError, "mse="):
        Target("mse", value)


@pytest.mark.parametrize("peak", ["255", [255, 255], 0, float("nan"), True, 1j])
def test_a_peak_that_is_no_number_is_refused(peak):
    with one_line(InputError, "peak="):
        Target("psnr", 30, peak)
