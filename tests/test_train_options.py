"""Options of `isoq train`: what they mean, and what is refused before anything is written."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from cases import DATA

from isoq.cli import main
from isoq.cli.train import _range_of
from isoq.tile.normalize import Affine

pytest.importorskip("torch")

from isoq.train.data import Plane
from isoq.train.export import write_model
from isoq.train.networks import Network, NetworkConfig


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--learn-transforms"], "--learn-transforms does not go with --from"),
        (["--lambda", "8", "64"], "--lambda does not go with --from"),
        (["--lambda-dn", "0.1", "1"], "--lambda-dn does not go with --from"),
        (["--from", "WHOLE"], "cannot be tuned"),
    ],
)
def test_what_cannot_be_tuned_is_refused(tmp_path, capsys, options, words):
    network = Network(NetworkConfig.of_preset("default", learned=True))
    calibration = {
        "floor": 1e-6,
        "synthesis": {"level": [0], "log2_factor": [0.0]},
        "paper": {"alpha": 1.0, "a": 1.0, "b": 1.0},
    }
    write_model(tmp_path / "whole", network, {}, {"name": "whole", "calibration": calibration})
    options = [str(tmp_path / "whole") if option == "WHOLE" else option for option in options]
    assert (
        main(
            [
                "train",
                str(DATA / "landsat.tif"),
                "--out",
                str(tmp_path / "out"),
                "--from",
                "eo16",
                *options,
            ]
        )
        == 2
    )
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lambda_per_squared_digital_number_is_that_of_the_median_band(capsys):
    planes = [
        Plane(f"{scale}", np.zeros((1, 1, 1)), np.ones((1, 1), bool), (Affine(0.0, scale),))
        for scale in (2.0, 100.0, 4096.0)
    ]
    options = argparse.Namespace(range=None, range_dn=[0.0004, 0.2048])
    assert _range_of(options, planes, print) == pytest.approx((4, 2048))
    assert "--lambda 4 2048" in capsys.readouterr().err
    assert _range_of(argparse.Namespace(range=[8, 64], range_dn=None), planes, print) == [8, 64]


@pytest.mark.parametrize("options", [["0", "1"], ["2", "1"], ["1", "inf"], ["nan", "1"]])
def test_impossible_ranges_of_lambda_are_refused(tmp_path, capsys, options):
    for name in ("--lambda", "--lambda-dn"):
        arguments = ["train", str(DATA / "landsat.tif"), "--out", str(tmp_path / "out")]
        assert main([*arguments, name, *options]) == 2
        assert f"{name} " in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
