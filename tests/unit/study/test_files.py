"""Configuration files: what YAML reads in another way than a person does is refused with its line."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from running import ROOT, configuration, run, small_study

from isthmus.core.errors import ConfigurationError
from isthmus.study.config import load
from isthmus.study.files import file_errors, folder_of, unreadable


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
    assert file_errors([ROOT / "config" / "config.yaml", *ROOT.glob("presets/*.yaml")]) == []


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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\n# Gr\xf6\xdfe\n", ", line 2: a character is not in UTF-8; save the file in this encoding"),
        (b"a:\n  b: [1\n", ", line 3, column 1: expected ',' or ']', but got '<stream end>'"),
        (b"a: 1\n\tb: 2\n", ", line 2, column 1: found character '\\t' that cannot start any token"),
        (b"a: &a\n  b: {c: [*a]}\n", ", line 1: this part contains itself by an alias"),
        (b"- a\n", " has no keys at the top, such as `studies`"),
        (b"", " has no keys at the top, such as `studies`"),
        (b"a: 1\n--- \nb: 2\n", ", line 2, column 1: but found another document"),
        (b"a: \x00\n", ": unacceptable character #x0000: special characters are not allowed"),
        (b"a: &a {b: 1}\nc: [*a, *a]\n", ""),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_a_sentence(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert unreadable(path).startswith(f"{path}{reason}" if reason else "")
    assert bool(unreadable(path)) == bool(reason)


def test_a_file_that_cannot_be_opened_is_refused_in_a_sentence(tmp_path: Path) -> None:
    assert unreadable(tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'} cannot be read: No such file or directory"
    assert unreadable(tmp_path) == f"{tmp_path} cannot be read: Is a directory"


def test_aliases_of_aliases_are_looked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else ''}]" for n in range(30)]  # 9^29 parts
    path.write_text("\n".join(lines))
    assert unreadable(path) == ""


def test_make_says_it_before_snakemake_does(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"studies: [\n")
    command = [sys.executable, ROOT / "workflow" / "scripts" / "check_configuration.py", path]
    done = subprocess.run(command, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == unreadable(path)
