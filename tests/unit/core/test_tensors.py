"""Tensors on disk: what was written is read, bit for bit, and equal content is an equal file."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from running import SCRIPTS

from isthmus.core.tensors import load_tensors

WRITE = r"""
import sys, torch
from isthmus.core.tensors import save_tensors
tensors = {f"seed/{number}": torch.arange(number + 1.0) for number in range(9)}
tensors["mask"] = torch.ones(3, dtype=torch.bool)
metadata = {f"key {number}": f"{number} ä \n \x7f \x01 \\ \"" for number in range(12)}
save_tensors(sys.argv[1], tensors, metadata)
"""


def test_files_of_equal_content_are_equal_byte_for_byte(tmp_path: Path) -> None:
    """The order of metadata in a safetensors file depends on the process, unless it is sorted."""
    files = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for file in files:
        command = [sys.executable, "-c", WRITE, str(file)]
        subprocess.run(command, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}, check=True)
    assert len({file.read_bytes() for file in files}) == 1
    tensors, metadata = load_tensors(files[0])
    assert len(tensors) == 10
    assert tensors["seed/8"].equal(torch.arange(9.0))
    assert {key: value for key, value in metadata.items() if key != "checksum"} == {
        f"key {number}": f'{number} ä \n \x7f \x01 \\ "' for number in range(12)
    }
