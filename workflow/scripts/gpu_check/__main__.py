"""The command: parts in turn, each within its time, going on from what an earlier call left."""

import argparse
import importlib
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from gpu_check.case import Case, Options, Skipped, Unfinished
from gpu_check.needs import ROOT, needs_text
from gpu_check.record import FAILED, PASSED, SKIPPED, UNFINISHED, OtherMachine, Record, machine, shown

PARTS = {"tests": 110.0, "steps": 110.0, "speed": 70.0, "workflow": 90.0, "published": 3600.0}
"""Parts, and the seconds that each may take in a call with others; the last one takes what is left."""
LEAST = 2.0  # seconds left without which no case begins
SLACK = 5.0  # seconds after the end of its time in which a case may still end by itself


def main(arguments: list[str] | None = None) -> int:
    """Run the check; 1 if a case failed, 0 otherwise."""
    given = _arguments(arguments)
    began = time.monotonic()
    print(needs_text(given.data), flush=True)
    if given.device == "cuda" and not _sees_gpu():
        print("no GPU is visible here; --device cpu --smallest exercises every part without one", file=sys.stderr)
        return 2
    try:
        record = Record.open(given.out, machine(given.device, given.smallest))
    except OtherMachine as error:
        print(error, file=sys.stderr)
        return 2
    print(", ".join(f"{key} {value}" for key, value in record.machine.items()), flush=True)
    options = Options(given.device, given.smallest, given.data, given.out / "gpu-check")
    ends = began + 60 * given.minutes
    for part in given.parts:
        limit = PARTS[part] if len(given.parts) > 1 else 60 * given.minutes
        _run_part(part, record, options, min(ends, time.monotonic() + limit), given.only)
    record.save()
    outcomes = [row["status"] for cases in record.parts.values() for row in cases.values()]
    counts = ", ".join(f"{outcomes.count(each)} {each}" for each in (PASSED, FAILED, SKIPPED, UNFINISHED))
    print(f"{counts}; {given.out / 'gpu-check.md'}, after {time.monotonic() - began:.0f} s", flush=True)
    return int(FAILED in outcomes)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu_check", description="What Isthmus does on a GPU (docs/gpu.md).")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--smallest", action="store_true", help="every case at its smallest size")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of gpu-check.md and gpu-check.json")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder with cifar-10-batches-py")
    parser.add_argument("--minutes", type=float, default=7.5, help="after which no case goes on")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--only", default="", help="cases whose name contains this")
    given = parser.parse_args(arguments)
    given.out, given.data = given.out.resolve(), given.data.resolve()
    return given


def _sees_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _run_part(part: str, record: Record, options: Options, ends: float, only: str) -> None:
    """Run the cases of a part that have not passed, in order, until its time is over."""
    try:
        cases: list[Case] = importlib.import_module(f"gpu_check.{part}").cases(options)
    except ModuleNotFoundError as error:
        record.keep(part, "all", SKIPPED, 0, {}, f"{error.name} is not installed")
        print(f"{part}: skipped, {error.name} is not installed", flush=True)
        return
    for case in cases:
        if only not in case.name or record.passed(part, case.name):
            continue
        if ends - time.monotonic() >= LEAST:
            _run_case(part, case, record, ends)
        elif case.name not in record.parts.get(part, {}):
            record.keep(part, case.name, UNFINISHED, 0, {}, "no time left")


def _run_case(part: str, case: Case, record: Record, ends: float) -> None:
    began = time.monotonic()
    status, why, measured, rung = PASSED, "", {}, []
    left = ends - began
    try:
        with _limited(min(left + SLACK, case.limit), rung):
            measured = case.run(left)
    except Unfinished as stopped:
        status, why, measured = UNFINISHED, str(stopped), stopped.measured
    except Skipped as missing:
        status, why = SKIPPED, str(missing)
    except ModuleNotFoundError as error:
        status, why = SKIPPED, f"{error.name} is not installed"
    except Exception as error:  # one case that fails leaves the others to run; the record says what it raised
        status, why = FAILED, f"{type(error).__name__}: {str(error).strip()[-400:]}"
        if not rung:
            traceback.print_exc()
    if rung and status != PASSED:  # what was going on may have wrapped the alarm in an error of its own
        status, why = UNFINISHED, "out of time"
        if case.limit < left + SLACK:
            status, why = SKIPPED, f"not measured: it did not end in {case.limit:g} s"
    seconds = time.monotonic() - began
    record.keep(part, case.name, status, seconds, measured, why)
    values = ", ".join(f"{key} {shown(value)}" for key, value in measured.items())
    print(f"{part}: {case.name}: {status} in {seconds:.1f} s; {values} {why}", flush=True)


@contextmanager
def _limited(seconds: float, rung: list[int]) -> Iterator[None]:
    """Raise Unfinished inside after so many seconds; `rung` grows then."""

    def ring(number: int, frame: FrameType | None) -> None:
        rung.append(number)
        raise Unfinished("out of time")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    sys.exit(main())
