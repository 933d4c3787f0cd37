"""Configuration files: what YAML reads in another way than a person does is refused with its line."""

from pathlib import Path

import pytest
import yaml
from running import ROOT, configuration, run, small_study

from isthmus.core.errors import ConfigurationError
from isthmus.study.config import load
from isthmus.study.files import file_errors, folder_of


def errors_in(folder: Path, text: str) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(text)
    return [error.removeprefix(f"{path}, ") for error in file_errors([path, path])]


def test_a_key_given_twice_names_both_lines(tmp_path: Path) -> None:
    text = "studies:\n  a:\n    grid: {seed: 1}\n  b: {}\n  a:\n    grid: {seed: 2, seed: 3}\n"
    assert errors_in(tmp_path, text) == [
        "line 5: the key `a` was given in line 2 already; keep one of them",
        "line 6: the key `seed` was given in line 6 already; keep one of them",
    ]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("yes", "true"), ("Off", "false"), ("1:30", "90"), ("010", "8"), ("1:30.5", "90.5"), ("2026-11-28", "a date")],
)
@pytest.mark.parametrize("form", ["seed: {}\n", "{}: 1\n", "- [{}]\n"])
def test_what_does_not_mean_what_it_seems_to_is_refused(tmp_path: Path, form: str, text: str, meaning: str) -> None:
    expected = f"line 1: `{text}` means {meaning} in YAML 1.1; write that, or put it in quotes"
    assert errors_in(tmp_path, form.format(text)) == [expected]
    assert errors_in(tmp_path, form.format(f'"{text}"')) == []


def test_what_means_what_it_says_passes(tmp_path: Path) -> None:
    text = (
        "a: &x [true, FALSE, null, ~, 0, 10, -1, 1e-3, 0.05, .inf, 1_000, text, 'yes', null]\nb: *x\nc: {<<: {d: 1}}\n"
    )
    assert errors_in(tmp_path, text) == []
    assert errors_in(tmp_path, "") == []


def test_the_configurations_that_come_with_the_workflow_have_no_such_mistake() -> None:
    assert file_errors([ROOT / "config.yaml", *ROOT.glob("presets/*.yaml")]) == []


def test_they_are_refused_before_anything_else(tmp_path: Path) -> None:
    path, config = tmp_path / "config.yaml", configuration(small=small_study())
    path.write_text(f"{yaml.safe_dump(config)}\njobs: {{seeds: 2}}\n")
    with pytest.raises(ConfigurationError, match="the key `jobs` was given in line 1 already"):
        load(config, files=[path])


def test_the_workflow_looks_at_its_files(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text("jobs:\n  seeds: 2\n  seeds: 3\n")
    refused = run(tmp_path, configuration(small=small_study()), "all", "--configfile", str(tmp_path / "more.yaml"))
    assert refused.returncode != 0
    assert "line 3: the key `seeds` was given in line 2 already; keep one of them" in refused.stdout
    assert not (tmp_path / "results").exists()


def test_the_folder_is_that_of_the_file_with_the_studies(tmp_path: Path) -> None:
    study_file, machine = tmp_path / "presets" / "study.yaml", tmp_path / "machine.yaml"
    study_file.parent.mkdir()
    study_file.write_text("studies: {}\n")
    machine.write_text("jobs: {seeds: 1}\n")
    assert folder_of([study_file, machine]) == tmp_path / "presets"
    assert folder_of([machine]) == folder_of([]) == Path()
