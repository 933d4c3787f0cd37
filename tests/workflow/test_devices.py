"""What this machine has is looked at before the first job; what a cluster's nodes have is not."""

from pathlib import Path

import pytest
from running import configuration, run, small_study

from isthmus.core.hardware import has_gpu


@pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_missed_before_the_first_job(tmp_path: Path) -> None:
    config = configuration(small=small_study()) | {"jobs": {"device": "cuda"}}
    refused = run(tmp_path, config, "tables")
    assert refused.returncode != 0
    assert "jobs.device: cuda was given, but this machine has no GPU; set it to auto or cpu" in refused.stdout
    assert not (tmp_path / "results" / "data").exists()
    planned = run(tmp_path, config, "tables", "--dry-run")
    assert planned.returncode == 0, planned.stdout
