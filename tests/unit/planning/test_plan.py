"""What a study will cost: the jobs of a dry run, work in closed form, speeds of this machine."""

import math
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from running import ROOT, configuration, planned, run, small_study

from isthmus.analyses.claims.statements import read_claims
from isthmus.core.devices import Settings
from isthmus.data.facts import BUILTIN
from isthmus.planning import plan
from isthmus.planning.calibration import Speed, Task, calibrate, start_up
from isthmus.study.config import load
from isthmus.study.costs import cost_of
from isthmus.study.graph import Graph
from isthmus.tables.descriptions import stages

CPU = Settings(torch.device("cpu"))


def asked(folder: Path, config: dict[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script as `make plan` does."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, str(ROOT / "workflow" / "scripts" / "plan.py"), "--directory", str(folder)]
    command += ["--configfile", str(path), "--workflow-profile", str(ROOT / "profiles" / "default"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def tasks(study: dict[str, Any]) -> list[Task]:
    """The first training job of each cell, and the first job there of each analysis."""
    graph = Graph(load(configuration(small=study)), read_claims())
    found = []
    for name in graph.configuration.studies["small"].cells:
        for stage in ("train", *study.get("analyses", {})):
            wildcards = {"study": "small", "cell": name, "sweep": "edge", "block": "0"}
            task = plan.task_of(plan.Job(stage, wildcards, 1000, 10, 0, 1, 1), graph)
            assert task is not None
            found.append(task)
    return found


@pytest.mark.exhaustive
def test_the_jobs_are_those_of_a_dry_run(tmp_path: Path) -> None:
    config = configuration(small=small_study(seed=5) | {"analyses": {"movement": {}, "relations": {}}})
    printed = asked(tmp_path, config)
    assert printed.returncode == 0, printed.stderr
    counts = {
        line.split()[0]: int(line.split()[1]) for line in re.findall(r"^\w+ +\d+.*", printed.stdout, re.MULTILINE)
    }
    jobs = planned(tmp_path, config)
    kinds = {
        "data": "Preparing",
        "train": "Training",
        "movement": "Measuring",
        "relations": "Relating",
        "cells": "Listing the cells of small",
        "summaries": "Summarizing",
        "tables": ("Collecting", "Describing", "Listing the cells of all studies"),
        "claims": "Testing",
        "figures": ("Drawing", "Writing"),
    }
    assert counts == {stage: sum(job.startswith(word) for job in jobs) for stage, word in kinds.items()}
    assert counts["train"] == 6


def test_a_bad_configuration_is_refused_before_any_job_by_the_plan_and_by_the_workflow(tmp_path: Path) -> None:
    config = configuration(small=small_study(batch_size=[5000], widht=[3]))
    refused, by_workflow = asked(tmp_path, config), run(tmp_path, config)
    assert refused.returncode == 1
    assert by_workflow.returncode != 0
    assert "studies.small.grid.widht: unknown key (did you mean `width`?)" in refused.stderr
    assert refused.stderr.strip() in by_workflow.stdout
    assert "Traceback" not in by_workflow.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_speeds_are_positive_finite_and_never_fall_with_size() -> None:
    edge = {"width": [3], "points": [8], "seeds": 1}
    study = small_study(width=[4, 64]) | {"analyses": {"curvature": {}, "manifold": {"sweeps": {"edge": edge}}}}
    speeds = calibrate(tasks(study), "auto", CPU)
    of_networks = {(kind, "mlp") for kind in ("gradient", "evaluation", "product")}
    assert speeds.keys() == of_networks | {("algebra", ""), ("search", "")}
    for speed in speeds.values():
        taken = [speed(10.0**power) for power in range(12)]
        assert all(0 < seconds < math.inf for seconds in taken)
        assert taken == sorted(taken)
    assert 0 < start_up("math") < 60


def test_between_two_measured_sizes_seconds_follow_a_power_law() -> None:
    speed = Speed.of([(1e4, 1.0), (1e2, 0.1), (1e6, 0.5)])
    assert [speed(size) for size in (1, 1e2, 1e3, 1e4, 1e5, 1e7)] == pytest.approx([0.1, 0.1, 0.1**0.5, 1, 1, 10])
    with pytest.raises(ValueError, match="positive"):
        Speed.of([(1e4, 0.0)])


@pytest.mark.parametrize("analysis", [None, "connect", "curvature", "movement", "robustness", "tickets"])
def test_a_stage_costs_more_where_networks_are_larger_or_train_longer(analysis: str | None) -> None:
    curve = Speed.of([(1e3, 1e-4), (1e8, 1e-1)])
    speeds = {(kind, "mlp"): curve for kind in ("gradient", "evaluation", "product")} | {("algebra", ""): curve}
    # The whole Hessian of a small network costs more than a few eigenvalues of a larger one.
    options = {"dense_limit": 0} if analysis == "curvature" else {}
    wanted: dict[str, Any] = {"analyses": {analysis: options}} if analysis else {}

    def seconds(width: int, epochs: int) -> float:
        study = small_study(width=[width]) | {"training": {"epochs": epochs}} | wanted
        return tasks(study)[-1].seconds(speeds, "auto", CPU)

    assert seconds(8, 2) < seconds(64, 2) < seconds(512, 2)
    if analysis in (None, "tickets"):
        assert seconds(8, 2) < seconds(8, 20) < seconds(8, 200)


def test_matching_hidden_units_counts_by_its_method() -> None:
    def multiplications(kind: str, **alignment: Any) -> float:
        study = small_study(depth=[3]) | {"analyses": {"connect": {"kinds": [kind], "alignment": alignment}}}
        return sum(call.count * call.size * call.networks for call in tasks(study)[-1].calls)

    aligned = partial(multiplications, "linear-aligned")
    unaligned = multiplications("linear")
    activations, weights = aligned(method="activations"), aligned(method="weights")
    assert aligned(method="combined") - unaligned == pytest.approx(activations - unaligned + weights - unaligned)
    assert min(activations, weights) > unaligned
    assert aligned(method="auto", selection_images=1) > aligned(method="combined") + weights - unaligned
    assert aligned(method="weights", restarts=4) - unaligned == pytest.approx((weights - unaligned) / 2)


def test_networks_in_a_stack_share_calls() -> None:
    task = tasks(small_study(width=[8]))[0]
    overhead = Speed.of([(1.0, 1.0), (1e12, 1.0)])
    speeds = {(kind, "mlp"): overhead for kind in ("gradient", "evaluation")}
    together, apart = (task.seconds(speeds, stack, CPU) for stack in (2, 1))
    assert apart == pytest.approx(2 * together)


def test_every_analysis_is_counted_and_minutes_are_generous() -> None:
    of_tables = {stage.name for stage in stages().values() if stage.unit in ("study", "configuration")}
    assert {stage for stage in stages() if cost_of(stage) is not None} == set(stages()) - of_tables
    work = tasks(small_study())[0].work
    assert work.minutes() == 10
    assert BUILTIN["digits"].train_size == 1437
