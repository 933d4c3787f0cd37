"""Two configurations that take turns in one folder: tables are those of the last, and nothing is computed twice."""

import json
from pathlib import Path
from typing import Any

import pytest
from running import configuration, planned, read, small_study, succeed

MINE = ("results/tables/mine.parquet", b"a user's own file")


def study(width: int, **analyses: Any) -> dict[str, Any]:
    return configuration(small=small_study(width=[width], seed=2) | {"training": {"epochs": 1}, "analyses": analyses})


@pytest.mark.exhaustive
def test_tables_are_those_of_the_last_configuration_and_networks_of_both_are_kept(tmp_path: Path) -> None:
    first, second = study(4, movement={"kernel_images": 10}), study(8, robustness={"corruptions": ["contrast"]})
    succeed(tmp_path, first, "tables")
    (tmp_path / MINE[0]).write_bytes(MINE[1])
    succeed(tmp_path, second, "tables")
    assert set(read(tmp_path, "networks")["width"]) == {8}
    described = json.loads((tmp_path / "results/tables/datapackage.json").read_text())["resources"]
    there = {path.stem for path in (tmp_path / "results/tables").glob("*.parquet")}
    assert there == {resource["name"] for resource in described} | {"mine"}
    assert "robustness" in there
    assert not {"movement", "kernels"} & there
    assert (tmp_path / MINE[0]).read_bytes() == MINE[1]
    again = planned(tmp_path, first, "tables")
    assert any(job.startswith("Collecting") for job in again)
    assert not [job for job in again if job.startswith(("Training", "Measuring", "Preparing"))]
    succeed(tmp_path, first, "tables")
    assert set(read(tmp_path, "networks")["width"]) == {4}
    assert len(read(tmp_path, "movement")) > 0
