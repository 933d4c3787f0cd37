"""The graph of jobs: what a change of the configuration or of the code runs again, and what it leaves alone."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from running import configuration, copied, planned, read, run_once, small_study, succeed

from isthmus.overview.sentences import count_sentence
from isthmus.overview.verdicts import verdict_sentence

WIDTHS = (4, 8)
pytestmark = pytest.mark.slow
AGAIN = pytest.mark.exhaustive  # shows once more what the cases beside it show


def study(**grid: Any) -> dict[str, Any]:
    """The small study with two analyses, one of them on part of the grid."""
    return small_study(**grid) | {"analyses": {"movement": {}, "curvature": {"images": 50, "where": {"width": [4]}}}}


def cell(width: int) -> str:
    return f"width={width}+depth=1+batch_size=128"


def training(name: str, width: int, seeds: str) -> str:
    return f"Training {name}: {cell(width)}, seeds {seeds}"


def measuring(analysis: str, width: int, seeds: str) -> str:
    return f"Measuring the {analysis} of small: {cell(width)}, seeds {seeds}"


def collecting(*tables: str) -> set[str]:
    return {f"Collecting the table {table}" for table in tables}


def drawing(*stages: str, name: str = "small") -> set[str]:
    """The jobs behind the figures of some stages: their summaries, which are collected, and the figures."""
    summaries = {f"Summarizing {name}: {stage}" for stage in stages} | {"Collecting the summaries of all studies"}
    return summaries | {f"Drawing the figures of {name}: {stage}" for stage in stages}


def listing(study: str = "small") -> set[str]:
    return {f"Listing the cells of {name}" for name in (study, "all studies")}


# What follows from any change of a table: the claims, the description of all tables, and the overview.
CLAIMS = {"Testing the published claims on all studies", "Drawing the figure of the claims"}
CLAIMS |= {"Describing all tables", "Writing the overview of all studies"}
TRAINED, MOVED = collecting("networks", "history"), collecting("movement", "kernels")
CURVED = collecting("curvature", "eigenvalues", "spectrum", "perturbations")
# All that follows when every network is trained again.
AFTER_TRAINING = TRAINED | MOVED | CURVED | drawing("train", "movement", "curvature") | CLAIMS
AFTER_TRAINING |= {measuring("movement", width, "0 1") for width in WIDTHS} | {measuring("curvature", 4, "0 1")}
TRAINING = {training("small", width, "0 1") for width in WIDTHS}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the workflow, and of a folder in which the workflow ran the study to its end."""
    finished = run_once(tmp_path_factory, "small", lambda folder: succeed(folder, configuration(small=study())))
    place = tmp_path_factory.mktemp("small")
    return copied(place / "root"), shutil.copytree(finished, place / "run")


def test_the_report_opens_on_the_overview_and_holds_every_figure_with_its_caption(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    root, run = small
    folder = shutil.copytree(run, tmp_path / "run")
    succeed(folder, configuration(small=study()), "all", "--report", "report.html", root=root)
    report = (folder / "report.html").read_text()
    opening = report.split('<script id="workflow-desc">')[1].split("</script>")[0]
    claims, networks = read(folder, "claims"), read(folder, "networks")
    assert verdict_sentence(claims) in opening
    assert count_sentence("small", networks) in opening
    for title in ("Test accuracy and generalization gap", "Learning curves", "Published claims, and what was measured"):
        assert title in report
    assert '"1. Claims"' in report  # the first of the categories, which are sorted by name


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            configuration(small=study(seed=4)),
            {training("small", width, "2 3") for width in WIDTHS}
            | {measuring("movement", width, "2 3") for width in WIDTHS}
            | {measuring("curvature", 4, "2 3")}
            | (TRAINED | MOVED | CURVED | drawing("train", "movement", "curvature")),
        ),
        pytest.param(
            configuration(small=study(width=[4, 6, 8])),
            {training("small", 6, "0 1"), measuring("movement", 6, "0 1")}
            | listing()
            | (TRAINED | MOVED | drawing("train", "movement", "curvature")),
            marks=AGAIN,
        ),
        pytest.param(
            configuration(small=study(), other=small_study(width=[4])),
            {training("other", 4, "0 1")}
            | listing("other")
            | (TRAINED | drawing("train", "movement", "curvature") | drawing("train", name="other")),
            marks=AGAIN,
        ),
    ],
    ids=["seeds", "width", "study"],
)
def test_an_addition_adds_exactly_its_own_jobs(
    small: tuple[Path, Path], config: dict[str, Any], expected: set[str]
) -> None:
    root, folder = small
    assert planned(folder, config, root=root) == expected | CLAIMS


def test_a_changed_recipe_trains_again(small: tuple[Path, Path]) -> None:
    root, folder = small
    changed = study() | {"training": {"epochs": 3}}
    assert planned(folder, configuration(small=changed), root=root) == TRAINING | AFTER_TRAINING


def test_cells_that_stay_are_not_measured_again(small: tuple[Path, Path]) -> None:
    root, folder = small
    changed = study()
    changed["analyses"]["movement"]["where"] = {"width": [8]}
    del changed["analyses"]["curvature"]["where"]
    jobs = {measuring("curvature", 8, "0 1")} | MOVED | CURVED | drawing("movement", "curvature") | CLAIMS
    assert planned(folder, configuration(small=changed), root=root) == jobs


def test_how_jobs_are_run_is_no_reason_to_run_them_again(small: tuple[Path, Path]) -> None:
    root, folder = small
    config = configuration(small=study())
    config["jobs"] |= {"stack": 1, "threads": 2, "checkpoint_seconds": 5, "evaluation_batch_size": 100}
    config["jobs"] |= {"gpu": 1, "gpu_resources": {"slurm_partition": "gpu"}, "layout": "channels_last"}
    assert planned(folder, config, root=root) == set()


SCHEDULE, PEAK = "recipes/schedules.py", "    peak = peak_rate(training)"
CHANGED = ("\nfrom isthmus.", "\nCHANGED = True\nfrom isthmus.")
CURVATURE_AGAIN = {measuring("curvature", 4, "0 1")} | CURVED | drawing("curvature") | CLAIMS


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            [
                (SCHEDULE, PEAK, f"    # A comment.\n{PEAK}"),
                ("training/cost.py", "PROCESS_MB = 1000", "PROCESS_MB = 2000"),
                ("analyses/curvature/cost.py", "\ndef work(", "\nMORE = 2\n\n\ndef work("),
            ],
            set(),
        ),
        ([(SCHEDULE, PEAK, "    peak = 2 * peak_rate(training)")], TRAINING | AFTER_TRAINING),
        pytest.param(
            [("core/logs.py", "logging.INFO", "logging.DEBUG")],
            TRAINED | MOVED | CURVED | drawing("train", "movement", "curvature") | CLAIMS,
            marks=AGAIN,
        ),
        ([("analyses/curvature/noise.py", *CHANGED)], CURVATURE_AGAIN),
        pytest.param([("landscape/hessian/lanczos.py", *CHANGED)], CURVATURE_AGAIN, marks=AGAIN),
        pytest.param(
            [("data/sources.py", "DIGITS_SPLIT_SEED = 0", "DIGITS_SPLIT_SEED = 1")],
            {"Preparing the data set digits"} | TRAINING | AFTER_TRAINING,
            marks=AGAIN,
        ),
    ],
    ids=["comment and costs", "schedule", "log", "analysis", "eigenvalues", "data"],
)
def test_a_change_of_the_library_runs_exactly_what_depends_on_it(
    small: tuple[Path, Path], edits: list[tuple[str, str, str]], expected: set[str]
) -> None:
    root, folder = small
    library = root / "workflow" / "scripts" / "isthmus"
    originals = {module: (library / module).read_text() for module, _, _ in edits}
    try:
        for module, before, after in edits:
            assert before in originals[module]
            (library / module).write_text(originals[module].replace(before, after, 1))
        jobs = planned(folder, configuration(small=study()), root=root)
    finally:
        for module, original in originals.items():
            (library / module).write_text(original)
    assert jobs == expected


def test_adding_an_analysis_runs_its_own_jobs_and_no_others(small: tuple[Path, Path]) -> None:
    root, folder = small
    begin = [sys.executable, str(root / "workflow/scripts/new_analysis.py"), "sparsity"]
    subprocess.run(begin, check=True, capture_output=True)
    begun = study()
    try:
        unasked = planned(folder, configuration(small=begun), root=root)
        begun["analyses"]["sparsity"] = {"where": {"width": [8]}}
        asked = planned(folder, configuration(small=begun), root=root)
    finally:
        for path in [each for each in root.rglob("*sparsity*") if each.exists()]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert unasked == set()
    assert asked == drawing("sparsity") | collecting("sparsity") | {
        f"Estimating the local learning coefficients of small: {cell(8)}, seeds 0 1",
        "Describing all tables",
        "Writing the overview of all studies",
    }


def test_a_new_claim_tests_all_claims_again_and_runs_nothing_else(small: tuple[Path, Path]) -> None:
    root, folder = small
    path = root / "workflow" / "claims.yaml"
    original = path.read_text()
    path.write_text(original.replace("statement: relative movement falls with width", "statement: movement falls"))
    try:
        jobs = planned(folder, configuration(small=study()), root=root)
    finally:
        path.write_text(original)
    assert jobs == CLAIMS


def test_a_block_that_grows_keeps_its_finished_networks(tmp_path: Path) -> None:
    weights = f"results/small/train/{cell(4)}/0.safetensors"
    succeed(tmp_path, configuration(small=small_study(width=[4], seed=1)), weights)
    before = (tmp_path / weights).stat().st_mtime_ns
    printed = succeed(tmp_path, configuration(small=small_study(width=[4], seed=2)), weights)
    assert training("small", 4, "0 1") in printed
    log = (tmp_path / "results" / "logs" / "train" / "small" / cell(4) / "0.log").read_text()
    assert "network 0: budget" not in log, "seed 0 was trained again"
    assert "network 1: budget" in log
    assert (tmp_path / weights).stat().st_mtime_ns > before
    assert not (tmp_path / "results" / "checkpoints" / "small" / "train" / cell(4) / "0").exists()
