"""Run the benchmarks and write what they print into docs/speed.md, with the machine, the versions and the commit.

    python benchmarks/record.py [stacking training ...]

Without names, all of them run, one after the other; nothing else should run meanwhile. Where names are given, the page
keeps the last record of the others.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from isthmus.core.hardware import processor

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent / "docs" / "speed.md"
BEGIN, END = "<!-- records: written by `make bench` -->\n", "<!-- end of the records -->\n"
UNITS = {"avx512f": "AVX-512", "amx_bf16": "AMX", "avx512_bf16": "AVX-512 for bfloat16", "avx2": "AVX2"}


def machine() -> str:
    """The processor, with what Linux says it has for vectors and matrices, and the number of cores."""
    info = Path("/proc/cpuinfo")
    flags = re.findall(r"flags\s*: (.*)", info.read_text())[0].split() if info.exists() else []
    units = [unit for flag, unit in UNITS.items() if flag in flags]
    return f"{processor()} ({', '.join(units)}), {os.cpu_count()} cores"


def commit() -> str:
    """The commit of the code, with a star if files other than the page of records were changed since."""
    files = [":/", ":(top,exclude)docs/speed.md"]
    asked = [["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--untracked-files=no", *files]]
    head, changed = (subprocess.run(each, cwd=FOLDER, capture_output=True, text=True).stdout.strip() for each in asked)
    return f"{head}{'*' if changed else ''}"


def record(script: Path) -> str:
    """Run a script and return its section of the page: statement, circumstances, and what it printed."""
    print(f"== {script.name}", flush=True)
    lines = []
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if run.returncode:
        raise SystemExit(f"{script.name} failed")
    statement = re.findall(r'"""([^"\n]*)', script.read_text())[0]
    used = f"Python {platform.python_version()}, PyTorch {version('torch')}, NumPy {version('numpy')}"
    when = f"{datetime.now(UTC):%Y-%m-%d}, commit {commit()}"
    return f"### `{script.name}`\n\n{statement}\n\n{machine()}; {used}; {when}.\n\n```text\n{''.join(lines)}```\n"


def main() -> None:
    scripts = {path.stem.removeprefix("bench_"): path for path in sorted(FOLDER.glob("bench_*.py"))}
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", choices=[[], *scripts], help="which benchmarks; all of them without a name")
    for name in parser.parse_args().names or scripts:
        section = record(scripts[name])
        before, rest = PAGE.read_text().split(BEGIN)
        records, after = rest.split(END)
        kept = {re.findall(r"`(.*)`", each)[0]: each for each in re.findall(r"### `.*?\n```\n", records, re.DOTALL)}
        kept[scripts[name].name] = section
        PAGE.write_text(before + BEGIN + "\n" + "\n".join(kept[key] for key in sorted(kept)) + "\n" + END + after)


if __name__ == "__main__":
    main()
