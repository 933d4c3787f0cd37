"""What a cluster needs, as far as it can be seen without one: names of jobs, resources, the profile."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from running import ROOT, configuration, small_study, succeed

from isthmus.training.cost import run_time

CELL = "width=4+depth=1+batch_size=128"
RULES = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
BODIES = dict(re.findall(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", RULES, re.MULTILINE | re.DOTALL))


def profile() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())


@pytest.mark.slow
def test_a_job_runs_from_what_a_cluster_tells_it(tmp_path: Path) -> None:
    config = configuration(small=small_study(width=[4]))
    job = f"train:study=small,cell={CELL},block=0"
    succeed(tmp_path, config, "--target-jobs", "prepare_data:dataset=digits")
    succeed(tmp_path, config, "--target-jobs", job, "--allowed-rules", "train")
    assert (tmp_path / f"results/small/train/{CELL}/0.safetensors").exists()


def test_the_slurm_profile_knows_every_rule_that_asks_for_a_gpu_or_draws() -> None:
    known = profile()
    with_gpu = {name for name, body in BODIES.items() if "gpu=" in body}
    drawing = {name for name in BODIES if name.startswith("draw_")}
    assert len(with_gpu) > 5
    assert len(drawing) > 5
    assert {name for name, set_ in known["set-resources"].items() if "slurm_partition" in set_} == with_gpu
    assert {name for name, set_ in known["set-resources"].items() if "at_once" in set_} == drawing
    assert set(known["groups"]) == drawing


def test_a_rule_leaves_its_retries_to_the_profile() -> None:
    assert not re.search(r"^ +retries:", RULES, re.MULTILINE)  # they would stay in the same allocation of SLURM
    assert profile()["retries"] > 0


def test_several_jobs_share_the_gpu_of_a_workstation(tmp_path: Path) -> None:
    config = configuration(small=small_study()) | {"jobs": {"seeds": 2, "gpu": 1, "per_gpu": 3}}
    assert 'gpu=Resource("gpu", 3)' in succeed(tmp_path, config, "results/data/digits.safetensors")


def test_no_job_asks_for_more_time_than_a_partition_has() -> None:
    assert [run_time(60, attempt, 100) for attempt in (1, 2, 3)] == [60, 100, 100]
    assert run_time(60, 3, None) == 180
