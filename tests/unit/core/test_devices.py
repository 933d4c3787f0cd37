"""How a job's process is set up."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isthmus.core.devices import GPU_STACK_LIMIT, allow_tf32, gpu_stack_limit

# Pages that a process gets from the kernel for ten tensors of 64 MiB, one after another, once it has had as many.
REPEATED = """
import resource, sys, torch
from isthmus.core.devices import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.empty(2**24).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_the_memory_of_freed_tensors_is_used_again() -> None:
    def pages(case: str) -> int:
        done = subprocess.run([sys.executable, "-c", REPEATED, case], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert pages("keep") < pages("return") / 100


def test_a_measured_card_has_limits_of_its_own_and_another_one_the_guess(tmp_path: Path) -> None:
    table = tmp_path / "limits.toml"
    table.write_text('["NVIDIA H200"]\ndense = 3e8\nconvolutional = 2e7\n')
    assert gpu_stack_limit("NVIDIA H200", False, table) == 3e8
    assert gpu_stack_limit("NVIDIA H200", True, table) == 2e7
    assert gpu_stack_limit("NVIDIA A100", True, table) == GPU_STACK_LIMIT


def test_tf32_is_off_in_jobs_and_can_be_allowed() -> None:
    try:
        for allowed in (True, False):
            allow_tf32(allowed)
            assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == allowed
    finally:
        allow_tf32(False)
