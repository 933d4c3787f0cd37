"""What a machine has, as far as this can be found out without PyTorch."""

import platform
from pathlib import Path

GPU_DEVICES = ("nvidiactl", "kfd", "dxg")  # of NVIDIA, of AMD, and of the Windows subsystem for Linux


def processor() -> str:
    """The processor's name, as Linux has it; elsewhere what Python knows of it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def has_gpu() -> bool:
    """Whether a driver of a GPU is loaded."""
    return any(Path("/dev", each).exists() for each in GPU_DEVICES)
