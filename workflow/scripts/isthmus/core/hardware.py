"""What a machine has, as far as it can be told without PyTorch."""

from pathlib import Path

GPU_DEVICES = ("nvidiactl", "kfd", "dxg")  # of NVIDIA, of AMD, and of the Windows subsystem for Linux


def has_gpu() -> bool:
    """Whether a driver of a GPU is loaded."""
    return any(Path("/dev", each).exists() for each in GPU_DEVICES)
