"""How a job's process is set up."""

import platform
import subprocess
import sys

import pytest

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
