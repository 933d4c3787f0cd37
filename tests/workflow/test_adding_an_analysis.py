"""An analysis is files of its own and no edit elsewhere: docs/adding-an-analysis.md, carried out."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT, configuration, copied, run, small_study

PAGE = (ROOT / "docs" / "adding-an-analysis.md").read_text()
TEMPLATE = ROOT / "templates" / "analysis"
# The excerpts of the page, by the file of the template whose heading they stand under.
EXCERPTS = [
    (path, block)
    for path, section in re.findall(r"^### `(.+?)`\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    for block in re.findall(r"^```\w+\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
]
QUICK = "{chains: 2, burn_in: 0, draws: 2}"
DESCRIBED, SCRIPT = "workflow/schemas/stages/sparsity.yaml", "workflow/scripts/measure_sparsity.py"
LINES = "    lines: {rows: [sparsity, relative_sparsity]}\n"
DRAWING = "workflow/scripts/isthmus/figures/sparsity.py"


def files_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def call(root: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = root / "workflow/scripts" / script
    return subprocess.run([sys.executable, str(path), *arguments], capture_output=True, text=True)


def replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """A copy of the repository after `make new-analysis NAME=sparsity`, and the files that were not there before."""
    root = copied(tmp_path_factory.mktemp("begun"))
    before = files_in(root)
    made = call(root, "new_analysis.py", "sparsity")
    assert made.returncode == 0, made.stderr
    after = files_in(root)
    assert {path: after[path] for path in before} == before
    return root, after.keys() - before.keys()


@pytest.fixture
def edited(begun: tuple[Path, set[str]], tmp_path: Path) -> Path:
    """A copy of that, to make mistakes in."""
    return shutil.copytree(begun[0], tmp_path / "edited")


@pytest.mark.parametrize(("path", "block"), EXCERPTS)
def test_an_excerpt_of_the_page_stands_in_the_template(path: str, block: str) -> None:
    assert block in (TEMPLATE / path).read_text()


def test_the_page_walks_through_every_file_of_the_template() -> None:
    headings = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)
    assert sorted(headings) == sorted(path for path in files_in(TEMPLATE) if not path.endswith("__init__.py"))


def test_a_new_analysis_is_new_files_under_its_name(begun: tuple[Path, set[str]]) -> None:
    root, made = begun
    assert len(made) == len(files_in(TEMPLATE))
    assert all("sparsity" in path for path in made)
    assert not [path for path in made if re.search("learning[_-]coefficient", (root / path).read_text())]


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("movement", "there is an analysis 'movement' already"),
        ("My-Analysis", "'My-Analysis' cannot be the name of an analysis"),
        ("import", "'import' cannot be the name of an analysis"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(begun: tuple[Path, set[str]], name: str, refusal: str) -> None:
    before = files_in(begun[0])
    refused = call(begun[0], "new_analysis.py", name)
    assert refused.returncode == 1
    assert refusal in refused.stderr
    assert files_in(begun[0]) == before


@pytest.mark.parametrize(
    ("path", "before", "after", "expected"),
    [
        (DESCRIBED, "unit: seed", "unit: network", 'sparsity.yaml.unit: "network" was'),
        (DESCRIBED, "unit: seed", "unit: [", "stages/sparsity.yaml is not YAML: "),
        (DESCRIBED, None, "", f"{DESCRIBED} is missing"),
        (DESCRIBED, "[sparsity, relative", "[sparse, relative", "lines.rows: the stage has no quantity `sparse`"),
        (DESCRIBED, "cells, summaries]", "cells]", "a figure of means of these quantities needs `summaries`"),
        (DESCRIBED, LINES, "", f"{DRAWING}, which draws the figures, cannot be imported: No module named"),
        ("workflow/report/sparsity.rst", None, "", "its caption workflow/report/sparsity.rst is missing"),
        ("workflow/rules/sparsity.smk", None, "", "workflow/rules/sparsity.smk, the rules of the analysis, is missing"),
        ("tests/unit/analyses/test_sparsity.py", None, "", "the unit test of the analysis, is missing"),
        (SCRIPT, None, "", f"{SCRIPT}, which workflow/rules/sparsity.smk runs, is missing"),
    ],
)
def test_a_mistake_in_the_files_is_a_sentence(
    edited: Path, path: str, before: str | None, after: str, expected: str
) -> None:
    if before is None:
        (edited / path).unlink()
    else:
        replace(edited / path, before, after)
    checked = call(edited, "check_analysis.py", "sparsity")
    assert checked.returncode == 1
    assert expected in checked.stderr
    assert "Traceback" not in checked.stderr
    assert not (edited / "results").exists()


def test_its_options_are_checked(begun: tuple[Path, set[str]], tmp_path: Path) -> None:
    study = small_study() | {"analyses": {"sparsity": {"step_size": -1, "where": {"width": [5]}}}}
    refused = run(tmp_path, configuration(small=study), root=begun[0])
    assert "studies.small.analyses.sparsity.step_size: -1 was given; allowed is a number above 0" in refused.stdout
    study["analyses"]["sparsity"]["step_size"] = 1
    refused = run(tmp_path, configuration(small=study), root=begun[0])
    assert "studies.small.analyses.sparsity.where.width: 5 was given; the grid has [4, 8]" in refused.stdout


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_new_analysis_passes_its_check(edited: Path) -> None:
    checked = call(edited, "check_analysis.py", "sparsity", "--options", QUICK)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "The analysis sparsity works." in checked.stdout
    figure = "results/check-analysis/sparsity/results/figures/small/sparsity.png"
    assert figure in checked.stdout
    assert (edited / figure).exists()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_table_with_wrong_rows_fails_the_check(edited: Path) -> None:
    # In the cells of width 4, diverged networks have no row; in the others, they have a value.
    replace(edited / SCRIPT, "in block.seeds:", 'in (found if "width=4" in job.wildcards.cell else block.seeds):')
    replace(edited / SCRIPT, "found.get(seed, {})", 'found.get(seed, {"coefficient": 1.0})')
    checked = call(edited, "check_analysis.py", "sparsity", "--options", QUICK)
    lost = [line for line in checked.stderr.splitlines() if "has no row of the network" in line]
    assert len(lost) == 2
    assert all("width=4+" in line and "learning_rate=1e+20, seed " in line for line in lost)
    assert all(line.endswith("which diverged") for line in lost)
    assert "the table sparsity has values of `coefficient` for networks that diverged" in checked.stderr
