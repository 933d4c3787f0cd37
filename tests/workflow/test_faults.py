"""Attacks on the workflow, which survives them or says what is wrong: `make test-faults`, docs/reliability.md."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attacks import CELL, STAGES, Killer, Tally, at_work, differences, judged, printed, refusal, results, undone
from disks import disk, leave, remount
from flips import cut_off_end, flipped_bit, kinds, zeroed_end

from isthmus.core.hardware import has_gpu

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the jobs to kill in /proc, on Linux"),
]
PAUSE = 0.05  # from kill to kill, as a share of the time of an undisturbed run
KILLS_A_RUN = 12  # each run makes what one stage makes and all that follows from it; the first of several, everything
MOVEMENT = "results/tables/movement.parquet"
DISK = "64m"
DAMAGES = {"a flipped bit": flipped_bit, "the end cut off": cut_off_end, "the end full of zeros": zeroed_end}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The folder of a run that nothing disturbed, only to be read, and the seconds that it took."""
    folder, begun = tmp_path_factory.mktemp("undisturbed"), time.monotonic()
    with at_work(folder) as snakemake:
        assert snakemake.wait(timeout=1800) == 0, printed(folder).read_text()
    return folder, time.monotonic() - begun


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damaged_file_is_read_as_another(
    damage: str, undisturbed: tuple[Path, float], tmp_path: Path, tally: Tally, request: pytest.FixtureRequest
) -> None:
    every, randomness = kinds(undisturbed[0], tmp_path / "kinds"), random.Random(damage)
    number = request.config.getoption("--flips") // (1 if DAMAGES[damage] is flipped_bit else 10)
    for kind in every:
        for _ in range(-(-number // len(every))):
            outcome = kind.attack(tmp_path, randomness, DAMAGES[damage])
            tally.add(f"{damage}: {kind.name}", outcome)
            assert outcome != "wrong"


READERS = {
    "weights": (f"small/train/{CELL}/0.safetensors", f"small/movement/{CELL}/0.kernels.parquet"),
    "table": (f"small/movement/{CELL}/0.kernels.parquet", "tables/kernels.parquet"),
    "data": ("data/digits.safetensors", f"small/robustness/{CELL}/0.robustness.parquet"),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_job_names_the_damaged_file_and_what_to_do_helps(
    kind: str, undisturbed: tuple[Path, float], tmp_path: Path, tally: Tally, request: pytest.FixtureRequest
) -> None:
    if kind != "weights" and request.config.getoption("--flips") < 1000:
        pytest.skip("takes its time: with FLIPS=1000 or more")
    folder = shutil.copytree(undisturbed[0], tmp_path / "study")
    damaged, output = (folder / "results" / name for name in READERS[kind])
    target, times = f"results/{READERS[kind][1]}", damaged.stat()
    damaged.write_bytes(flipped_bit(damaged.read_bytes(), random.Random(kind)))
    os.utime(damaged, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a disk would do it, unseen
    output.unlink()
    sentence = rf"{READERS[kind][0]}.* is damaged.*; delete it and run the workflow again".replace("+", r"\+")
    outcome = refusal(folder, target, sentence=sentence)
    damaged.unlink()
    with at_work(folder, target) as snakemake:
        again = snakemake.wait(timeout=1800)
    right = (outcome, again, differences(folder, results(undisturbed[0]))) == ("refused", 0, [])
    tally.add("a flipped bit in the workflow", "refused" if right else "wrong")
    assert right, printed(folder).read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a disk of its own."""
    with disk(tmp_path / "disk", DISK) as folder:
        yield folder


def test_a_full_or_read_only_disk_is_named_and_nothing_is_lost(
    small_disk: Path, undisturbed: tuple[Path, float], tally: Tally, request: pytest.FixtureRequest
) -> None:
    randomness, expected, refused = random.Random(2), results(undisturbed[0]), "cannot be written: .*Free some space"
    for _ in range(-(-request.config.getoption("--kills") // 20)):
        for attack, prepare in {
            "a read-only folder": lambda: remount(small_disk, "ro"),
            "a disk that is full": lambda: leave(small_disk, randomness.randrange(2**20)),
        }.items():
            prepare()
            outcome = refusal(small_disk, MOVEMENT, sentence=refused)
            remount(small_disk, f"rw,size={DISK}")
            tally.add(attack, outcome)
            assert outcome == "refused", printed(small_disk).read_text()
        with at_work(small_disk, MOVEMENT) as snakemake:
            while snakemake.poll() is None and not (small_disk / "results/logs").exists():
                time.sleep(0.1)
            time.sleep(randomness.uniform(0, 0.2 * undisturbed[1]))
            leave(small_disk, randomness.randrange(2**16))
            outcome = judged(small_disk, snakemake.wait(timeout=1800), refused)
        remount(small_disk, f"size={DISK}")
        tally.add("a disk that fills up", outcome)
        assert outcome != "wrong", printed(small_disk).read_text()
        if outcome == "survived":
            shutil.rmtree(small_disk / "results")
    with at_work(small_disk, MOVEMENT) as snakemake:
        assert snakemake.wait(timeout=1800) == 0, printed(small_disk).read_text()
    made = results(small_disk)
    assert made == {name: expected[name] for name in made}
    assert MOVEMENT.removeprefix("results/") in made


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_missed_before_the_first_job(tmp_path: Path, tally: Tally) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    sentence = "jobs.device: cuda was given, but this machine has no GPU; set it to auto or cpu"
    outcome = refusal(folder, sentence=sentence, device="cuda")
    tally.add("a missing GPU", outcome)
    assert outcome == "refused", printed(folder).read_text()
    assert not (folder / "results").exists()
    with at_work(folder, "tables", "--dry-run", device="cuda") as snakemake:
        assert snakemake.wait(timeout=300) == 0, printed(folder).read_text()


def test_killed_at_random_moments_the_study_ends_like_an_undisturbed_one(
    undisturbed: tuple[Path, float], tmp_path: Path, tally: Tally, request: pytest.FixtureRequest
) -> None:
    killer, expected = Killer(random.Random(1), PAUSE * undisturbed[1]), results(undisturbed[0])
    left, folder = request.config.getoption("--kills"), tmp_path / "study"
    if left > 1:
        folder.mkdir()
    else:
        undone(undisturbed[0], folder, killer.random.choice(STAGES))
    while left > 0:
        kills = killer.run(folder, min(left, KILLS_A_RUN))
        wrong = differences(folder, expected)
        for kind, times in kills.items():
            tally.add(kind, "wrong" if wrong else "survived", times)
        assert not wrong
        left -= kills.total()
        shutil.rmtree(folder)
        undone(undisturbed[0], folder, killer.random.choice(STAGES))
