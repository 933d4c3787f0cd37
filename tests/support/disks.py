"""Small disks of their own, which can be full or read-only; on Linux, as root."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A new folder on a disk of its own, of a size like `64k`; skips the test without the right to mount one."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a disk of its own takes the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, option: str) -> None:
    """Change a disk: `size=64k`, `ro`, `rw`."""
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def leave(folder: Path, free: int) -> None:
    """Leave so many bytes on a disk, or somewhat more, as it counts in pages."""
    remount(folder, f"size={shutil.disk_usage(folder).used + free}")
