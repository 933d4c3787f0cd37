"""A job runs again when the code behind it changed, and only then."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from running import SCRIPTS

from isthmus.core import digest

TRAINING, COLLECTING, DRAWING = "train.py", "collect_table.py", "isthmus/figures/train.py"

DIGESTS = """
import json, sys
from pathlib import Path
from isthmus.core import digest
root = Path(digest.__file__).parents[2]
assert root == Path(sys.argv[1]), root
print(json.dumps({name: digest.digest(root / name) for name in sys.argv[2:]}))
"""


class Copy:
    """A copy of the scripts and the library, to be changed at will."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "scripts"
        shutil.copytree(SCRIPTS, self.root, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))

    def path(self, name: str) -> Path:
        return self.root / name

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.path(name).read_text(encoding="utf-8")
        assert text.count(old) == 1, (name, old)
        self.path(name).write_text(text.replace(old, new), encoding="utf-8")

    def append(self, name: str, text: str) -> None:
        with self.path(name).open("a", encoding="utf-8") as stream:
            stream.write(text)

    def digests(self, names: Iterable[str] = (TRAINING, COLLECTING, DRAWING)) -> dict[str, str]:
        """What the copy's own module says; it works on the folder it stands in."""
        command = [sys.executable, "-B", "-c", DIGESTS, str(self.root), *names]
        found = subprocess.run(command, env={"PYTHONPATH": str(self.root)}, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stderr
        return json.loads(found.stdout)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path.resolve())


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    """Of a copy as it is made, which are those of the original."""
    return {name: digest.digest(SCRIPTS / name) for name in (TRAINING, COLLECTING, DRAWING)}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def reworded(text: str) -> str:
    """The same code with other docstrings, comments and blank lines."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring:
                text = text.replace(docstring, f"Another wording, with \\\\ and a number: {len(docstring)}.", 1)
    lines = [f"{line}  # why" if line.endswith(":") else line for line in text.splitlines()]
    return "# A comment.\n\n\n" + "\n".join(lines) + "\n\n# The end.\n"


def test_digests_are_16_hexadecimal_digits_that_stay(copy: Copy, before: dict[str, str]) -> None:
    assert all(len(value) == 16 and int(value, 16) >= 0 for value in before.values())
    assert len(set(before.values())) == 3
    assert copy.digests() == before


def test_comments_docstrings_and_layout_change_nothing(copy: Copy, before: dict[str, str]) -> None:
    for name in (
        "isthmus/recipes/schedules.py",
        "isthmus/models/stacked.py",
        "isthmus/statistics/bootstrap.py",
        "isthmus/study/grid.py",
    ):
        text = copy.path(name).read_text(encoding="utf-8")
        other = reworded(text)
        assert "Another wording" in other
        assert ast.unparse(ast.parse(other)) != ast.unparse(ast.parse(text))
        copy.path(name).write_text(other, encoding="utf-8")
    assert changed(before, copy.digests()) == set()


def test_the_description_under_a_constant_is_a_docstring_too(copy: Copy) -> None:
    copy.append("isthmus/recipes/schedules.py", '\nLIMIT = 1\n"""What it is."""\n')
    before = copy.digests([TRAINING])
    copy.edit("isthmus/recipes/schedules.py", "What it is.", "What it really is.")
    assert copy.digests([TRAINING]) == before


def test_changed_code_changes_the_digest_of_what_uses_it(copy: Copy, before: dict[str, str]) -> None:
    """The schedule is used in training, and by nothing that collects tables or draws figures."""
    copy.edit(
        "isthmus/recipes/schedules.py",
        "(1 + math.cos(math.pi * progress)) / 2",
        "(1 + math.cos(math.pi * progress)) / 3",
    )
    assert changed(before, copy.digests()) == {TRAINING}


def test_changed_code_of_a_figure_changes_its_own_digest_alone(copy: Copy, before: dict[str, str]) -> None:
    copy.append(DRAWING, "\nINK = 'blue'\n")
    assert changed(before, copy.digests()) == {DRAWING}


def test_code_behind_several_imports_counts(copy: Copy, before: dict[str, str]) -> None:
    """Training reaches the seeds through the order of the data, the initialization and more."""
    copy.edit("isthmus/core/seeds.py", "INITIALIZATION = 0", "INITIALIZATION = 100")
    assert TRAINING in changed(before, copy.digests())


def test_an_import_inside_a_function_counts(copy: Copy) -> None:
    copy.path("isthmus/core/late.py").write_text("VALUE = 1\n", encoding="utf-8")
    copy.append(
        "isthmus/recipes/schedules.py", "\n\ndef _late():\n    from isthmus.core import late\n\n    return late.VALUE\n"
    )
    before = copy.digests([TRAINING])
    copy.edit("isthmus/core/late.py", "1", "2")
    assert copy.digests([TRAINING]) != before


def test_plumbing_changes_nothing(copy: Copy, before: dict[str, str]) -> None:
    """Modules that carry numbers without changing them do not make hours of training run again."""
    for name in sorted(digest.PLUMBING):
        copy.append(f"isthmus/{name.replace('.', '/')}.py", "\n\ndef another() -> int:\n    return 1\n")
    assert changed(before, copy.digests()) == set()


def test_modules_that_plumbing_imports_count(copy: Copy) -> None:
    copy.path("isthmus/core/below.py").write_text("VALUE = 1\n", encoding="utf-8")
    copy.append("isthmus/tables/parquet.py", "\nfrom isthmus.core.below import VALUE\n")
    before = copy.digests([COLLECTING])
    copy.edit("isthmus/core/below.py", "1", "2")
    assert copy.digests([COLLECTING]) != before


def test_a_module_that_nothing_imports_changes_nothing(copy: Copy, before: dict[str, str]) -> None:
    copy.path("isthmus/another_analysis.py").write_text(
        "from isthmus.training.trainer import train\n", encoding="utf-8"
    )
    copy.path("another_analysis.py").write_text("import isthmus.another_analysis\n", encoding="utf-8")
    assert changed(before, copy.digests()) == set()


def test_modules_that_import_each_other_are_no_obstacle(copy: Copy) -> None:
    copy.path("isthmus/one.py").write_text("import isthmus.other\n\nVALUE = 1\n", encoding="utf-8")
    copy.path("isthmus/other.py").write_text("import isthmus.one\n\nVALUE = 1\n", encoding="utf-8")
    copy.path("circle.py").write_text("import isthmus.one\n", encoding="utf-8")
    before = copy.digests(["circle.py"])
    copy.edit("isthmus/other.py", "VALUE = 1", "VALUE = 2")
    assert copy.digests(["circle.py"]) != before


def test_the_code_of_a_package_counts_for_its_modules(copy: Copy) -> None:
    before = copy.digests([TRAINING])
    copy.append("isthmus/training/__init__.py", "\nVALUE = 1\n")
    assert copy.digests([TRAINING]) != before


@pytest.mark.parametrize(
    "statement",
    ["from . import schedules", "import importlib\nimportlib.import_module('isthmus.core.' + 'seeds')"],
    ids=["relative", "computed"],
)
def test_imports_that_cannot_be_followed_are_refused(copy: Copy, statement: str) -> None:
    copy.append("isthmus/recipes/schedules.py", f"\n{statement}\n")
    with pytest.raises(AssertionError, match=r"schedules\.py:\d+: "):
        copy.digests([TRAINING])


EIGENVALUES = ("measure_curvature.py", "measure_gradient_noise.py", "measure_local_learning_coefficient.py")


@pytest.mark.parametrize(
    ("module", "scripts"),
    [
        ("landscape/hessian/lanczos.py", {"connect.py", "find_tickets.py", *EIGENVALUES}),
        ("landscape/tangent_kernel.py", {"measure_movement.py"}),
        ("landscape/curves.py", {"connect.py"}),
        ("data/corruptions.py", {"find_tickets.py", "measure_fragility.py", "measure_robustness.py"}),
    ],
)
def test_a_measuring_tool_reruns_what_measures_with_it_and_nothing_else(module: str, scripts: set[str]) -> None:
    measuring = [
        *SCRIPTS.glob("measure_*.py"),
        *(SCRIPTS / name for name in ("train.py", "connect.py", "find_tickets.py")),
    ]
    assert {path.name for path in measuring if digest.LIBRARY / module in digest.reached(path)} == scripts


def test_what_was_read_is_kept_and_a_damaged_record_is_read_anew(copy: Copy, before: dict[str, str]) -> None:
    kept = copy.path("isthmus/__pycache__/modules.json")
    kept.parent.mkdir()
    assert copy.digests() == before
    content = kept.read_bytes()
    assert copy.digests() == before
    assert kept.read_bytes() == content

    damaged = content.replace(b"numpy", b"nympu")
    assert damaged != content
    kept.write_bytes(damaged)
    assert copy.digests() == before
    assert kept.read_bytes() == content
    assert kept.with_name("modules.json.damaged").read_bytes() == damaged


def test_an_edit_counts_although_what_was_read_is_kept(copy: Copy, before: dict[str, str]) -> None:
    kept = copy.path("isthmus/__pycache__/modules.json")
    kept.parent.mkdir()
    assert copy.digests() == before
    copy.append("isthmus/training/trainer.py", "\nANOTHER = 1\n")
    after = copy.digests()
    assert changed(before, after) == {TRAINING}
    kept.unlink()
    assert copy.digests() == after
