"""What a cluster needs, as far as it can be seen without one: names of jobs, resources, the profile."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import ROOT, configuration, small_study, succeed

from isthmus.training.cost import run_time

CELL = "width=4+depth=1+batch_size=128"
RULES = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
BODIES = dict(re.findall(r"^rule (\w+):\n(.*?)(?=^rule |^use rule |\Z)", RULES, re.MULTILINE | re.DOTALL))


def profile() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())


@pytest.mark.exhaustive
def test_a_job_runs_from_what_a_cluster_tells_it(tmp_path: Path) -> None:
    config = configuration(small=small_study(width=[4]))
    job = f"train:study=small,cell={CELL},block=0"
    succeed(tmp_path, config, "--target-jobs", "prepare_data:dataset=digits")
    succeed(tmp_path, config, "--target-jobs", job, "--allowed-rules", "train")
    assert (tmp_path / f"results/small/train/{CELL}/0.safetensors").exists()


def test_the_slurm_profile_needs_no_edit_for_a_new_analysis() -> None:
    assert not {"groups", "set-resources", "set-threads"} & profile().keys()


def test_rules_that_compute_with_networks_take_the_resources_of_their_stage() -> None:
    computing = {name: body for name, body in BODIES.items() if "envs/torch.yaml" in body and name != "prepare_data"}
    assert len(computing) > 5
    assert all(re.search(r"resources:\n +\*\*\w+\.resources,\n", body) for body in computing.values())


def test_figures_are_drawn_by_one_job_of_a_cluster_one_after_another() -> None:
    drawing = re.findall(r"^(?:use )?rule .*draw_\w+.*$", RULES, re.MULTILINE)
    (base,) = (body for name, body in BODIES.items() if name.startswith("draw_"))
    assert len(drawing) > 5
    assert all(line == "rule draw_training:" or line.startswith("use rule draw_training as ") for line in drawing)
    assert '"figures"' in base
    assert profile()["group-components"] == {"figures": 100}
    assert "at_once=1" in base
    assert "at_once=1" in profile()["resources"]
    assert "at_once=local" in profile()["set-resource-scopes"]


def test_redrawing_names_every_rule_that_draws() -> None:
    database = subprocess.run(["make", "-pn", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    (named,) = re.findall(r"^DRAW := (.*)$", database, re.MULTILINE)
    assert sorted(named.split()) == sorted(set(re.findall(r"\bdraw_(?!figures)\w+", RULES)))


def test_a_rule_leaves_its_retries_to_the_profile() -> None:
    assert not re.search(r"^ +retries:", RULES, re.MULTILINE)  # they would stay in the same allocation of SLURM
    assert profile()["retries"] > 0


def test_no_job_asks_for_more_time_than_a_partition_has() -> None:
    assert [run_time(60, attempt, 100) for attempt in (1, 2, 3)] == [60, 100, 100]
    assert run_time(60, 3, None) == 180
