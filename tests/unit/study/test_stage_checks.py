"""A mistake in the description of a stage is one sentence that names the file, before anything runs."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import ROOT

from isthmus.study.stage_checks import stage_errors

WRONG = [
    ("movement", {"unit": "network"}, "movement.yaml.unit: \"network\" was given; allowed is one of seed, pair, "),
    ("movement", {"unit": None}, "movement.yaml: the key `unit` is missing"),
    ("movement", {"stage": "moves"}, "movement.yaml: the stage is called `moves`, but its file is not"),
    ("movement", {"options.kernel_images.default": -1}, "movement.yaml: options.kernel_images.default: -1 was given"),
    ("movement", {"options.kernel_images.default": None}, "options.kernel_images: the key `default` is missing"),
    ("movement", {"tables.movement.columns.width": {"type": "int64", "description": "w"}}, "has this column"),
    ("movement", {"tables.movement.columns.norm.type": "real"}, "norm.type: \"real\" was given; allowed is one of"),
    ("movement", {"tables.paths": {"row": "a point", "columns": {"t": {"type": "int64", "description": "t"}}}}, "has"),
    ("movement", {"tables.kernels.key": ["norm"]}, "kernels.key: `norm` is not a column of this table that is never"),
    ("curvature", {"figures.spectra.tables": ["moves"]}, "figures.spectra.tables: no stage makes a table `moves`"),
    ("movement", {"figures.speed": {"title": "Speed", "tables": ["movement"]}}, "workflow/report/speed.rst is missing"),
    ("movement", {"quantities.kernel_alignment.table": "kernel"}, "kernel_alignment.table: no stage makes a table `"),
    ("movement", {"quantities.kernel_alignment.networks": "nets"}, "alignment.networks: no stage makes a table `nets`"),
    ("movement", {"figures.movement.lines.rows": ["speed"]}, "movement.lines.rows: the stage has no quantity `speed`"),
    ("movement", {"figures.movement.tables": ["movement", "cells", "summaries"]}, "quantities needs `networks`"),
    ("movement", {"figures.movement.lines.x": "epoch"}, "`epoch` is neither an axis, nor a column in `by` of"),
    ("movement", {"figures.movement.lines.x": "norm"}, "`norm` is neither an axis"),
    ("tickets", {"figures.ticket-stability.lines.x": "layer_density"}, "nor a quantity with a value for each"),
    ("movement", {"figures.movement.lines.hue": "layer"}, "lines.hue: `layer` is neither an axis nor a column in `by`"),
    ("movement", {"figures.kernel-change.lines.panels": ["layer"]}, "lines.panels: `layer` is not a column in `by`"),
    ("movement", {"figures.movement.lines.split": "final"}, "lines.split: `final` is not a column in `by` of any of"),
    ("movement", {"figures.movement.lines.shared": "all"}, "lines.shared: this is a value of the only column"),
    ("connect", {"options.pairs": None}, "connect.yaml: a stage with `unit: pair` needs the option `pairs`"),
]  # fmt: skip


def changed(content: dict[str, Any], path: str, value: Any) -> None:
    """Set the entry at a dotted path of a nested dictionary, or remove it where the value is None."""
    *parents, last = path.split(".")
    for key in parents:
        content = content.setdefault(key, {})
    if value is None:
        del content[last]
    else:
        content[last] = value


@pytest.fixture
def workflow(tmp_path: Path) -> Path:
    for part in ("schemas", "report"):
        shutil.copytree(ROOT / "workflow" / part, tmp_path / part)
    return tmp_path


@pytest.mark.parametrize(("stage", "change", "expected"), WRONG, ids=[next(iter(change)) for _, change, _ in WRONG])
def test_a_wrong_description_is_one_sentence(workflow: Path, stage: str, change: dict[str, Any], expected: str) -> None:
    path = workflow / "schemas" / "stages" / f"{stage}.yaml"
    content = yaml.safe_load(path.read_text())
    for place, value in change.items():
        changed(content, place, value)
    path.write_text(yaml.safe_dump(content))
    (error,) = stage_errors(workflow / "schemas")
    assert error.startswith("workflow/schemas/stages/")
    assert expected in error


def test_the_stages_of_the_workflow_are_described_without_a_mistake() -> None:
    assert stage_errors() == ()
