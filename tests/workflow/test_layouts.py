"""The memory layout that a study measures is kept by all its jobs and by every later run."""

import json
import shutil
from pathlib import Path

import pytest
from running import configuration, small_study, succeed

CELL = "width=4+depth=1+batch_size=128"
WEIGHTS = f"results/small/train/{CELL}/0.safetensors"


@pytest.mark.slow
def test_a_study_keeps_to_the_layout_that_its_first_job_measured(tmp_path: Path) -> None:
    network = {"architecture": "cnn", "normalization": "batch", "blocks": 1, "hidden_units": 8}
    config = configuration(small=small_study(width=[4]) | {"network": network, "analyses": {"movement": {}}})
    config["jobs"]["layout"] = "auto"
    succeed(tmp_path, config, "results/tables/movement.parquet")
    (file,) = (tmp_path / "results" / "small" / "layouts").iterdir()
    chosen, weights = file.read_text(), (tmp_path / WEIGHTS).read_bytes()
    assert json.loads(chosen)["content"]["network"]["architecture"] == "cnn"
    log = (tmp_path / f"results/logs/movement/small/{CELL}/0.log").read_text()
    assert "Layout(" in log
    assert "milliseconds of a step" not in log, "the analysis reads what training measured"
    (tmp_path / WEIGHTS).unlink()
    shutil.rmtree(tmp_path / "results" / "checkpoints")
    succeed(tmp_path, config, WEIGHTS)
    assert file.read_text() == chosen
    assert (tmp_path / WEIGHTS).read_bytes() == weights
