"""Where graphs and networks run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError, argument

if TYPE_CHECKING:
    import torch

DEVICES = ("cpu", "cuda")


def check_device(name: str) -> None:
    """Raise InputError if a device is not one of DEVICES."""
    if name not in DEVICES:
        raise InputError(f"{argument('device', name)}: must be {' or '.join(DEVICES)}")


def torch_device(name: str) -> torch.device:
    """Return a device of PyTorch, which is imported here. Raises InputError if there is no such
    GPU."""
    import torch

    check_device(name)
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"`device={name}`: PyTorch {torch.__version__} finds no GPU that it can use; install a "
            "CUDA build of it and NVIDIA's driver, or leave `device` out"
        )
    return torch.device(name)
