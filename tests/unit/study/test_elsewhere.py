"""Studies made of tables: what they become, and what is wrong with tables before the first job.

The tables are those that Yang et al. (2021) published, which come with the workflow, less most of their cells.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from running import ROOT, blocks, configuration, loaded_from, small_study

from isthmus.analyses.claims.statements import parse_claims, read_claims
from isthmus.core.errors import ConfigurationError
from isthmus.study.config import load
from isthmus.study.given_tables import taken
from isthmus.study.graph import Graph
from isthmus.tables.descriptions import table
from isthmus.tables.parquet import collect, write_arrow
from isthmus.tables.quantities import FEWEST_POINTS

PUBLISHED = ROOT / "presets" / "yang2021"
STUDY = {"tables": "measured", "source": "Yang et al. 2021"}
CELL = "width=8+depth=18+batch_size=128"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The published tables, of four cells, in the folder `measured`."""
    (tmp_path / "measured").mkdir()
    for path in PUBLISHED.glob("*.parquet"):
        rows = pd.read_parquet(path)
        rows = rows[rows["width"].isin([8, 64]) & rows["batch_size"].isin([16, 128])]
        rows.to_parquet(tmp_path / "measured" / path.name, index=False)
    return tmp_path


def edit(folder: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    path = folder / "measured" / f"{name}.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def mistakes(folder: Path, study: dict[str, Any] | None = None) -> list[str]:
    """What is wrong with the study `s`, less the words that every sentence about its tables begins with."""
    with pytest.raises(ConfigurationError) as error:
        loaded_from(folder, configuration(s=study or STUDY))
    return [line.removeprefix("  - ").split("measured/")[-1] for line in str(error.value).splitlines()[1:]]


def test_the_published_networks_are_a_study_of_910_in_182_cells() -> None:
    preset = ROOT / "presets/yang2021.yaml"
    study = load(yaml.safe_load(preset.read_text()), files=[preset]).studies["yang2021"]
    assert (len(study.axes()), study.seeds, study.cells) == (182, (0, 1, 2, 3, 4), {})
    assert study.axes()[CELL] == {"width": 8, "depth": 18, "batch_size": 128}
    assert len(pd.read_parquet(PUBLISHED / "networks.parquet")) == 910


def test_what_was_not_measured_is_null_and_everything_else_as_it_was(folder: Path) -> None:
    given = pd.read_parquet(folder / "measured/networks.parquet")
    rows = taken(folder / "measured", "networks", "s")
    assert rows.column_names == [column.name for column in table("networks").columns]
    found = rows.to_pandas()
    pd.testing.assert_frame_equal(found[given.columns], given, check_dtype=False, check_categorical=False)
    assert set(found["study"]) == {"s"}
    assert found[["seconds", "movement", "stopped"]].isna().all(axis=None)


def test_tables_are_collected_beside_those_of_trained_networks(folder: Path, tmp_path: Path) -> None:
    own = small_study() | {"analyses": {"curvature": {}}}
    graph = Graph(loaded_from(folder, configuration(a=own, s=STUDY, z=own)), read_claims())
    parts = graph.parts("networks")
    assert parts[2] == "results/s/taken/networks.parquet"
    assert [part.split("/")[1] for part in parts] == ["a", "a", "s", "z", "z"]
    assert not [part for part in graph.parts("history") if "/s/" in part]
    assert "seconds" in graph.unknown_columns("networks")
    assert "train_loss" not in graph.unknown_columns("networks")
    assert graph.unknown_columns("history") == []
    assert {row["study"]: row["depth"] for row in graph.cells()} == {"a": 1, "s": 18, "z": 1}
    part = tmp_path / "part.parquet"
    write_arrow(part, taken(folder / "measured", "networks", "s"))
    assert collect([part], tmp_path / "all.parquet", "networks", graph.unknown_columns("networks")) == 20


def test_only_what_the_tables_hold_is_summarized_related_and_drawn(folder: Path) -> None:
    graph = Graph(loaded_from(folder, configuration(s=STUDY | {"analyses": {"relations": {}}})), read_claims())
    study = graph.configuration.studies["s"]
    assert [stage.name for stage in graph.stages_of(study)] == ["train", "connect", "curvature", "relations"]
    related = {quantity["name"] for quantity in graph.quantities("s")}
    assert {"test_error", "top_over_loss", "chord", "bezier_barrier"} <= related
    assert not {"movement", "noise_rise", "bezier_detour", "disagreement"} & related
    told = graph.elsewhere(type("Wildcards", (), {"study": "s"}))
    assert told["source"] == "Yang et al. 2021"
    assert {"learning-curves", "planes", "spectra"} <= set(told["without_data"])
    assert not {"test-accuracy", "barriers", "curvature", "effects"} & set(told["without_data"])
    assert graph.elsewhere(type("Wildcards", (), {})) == {}
    assert graph.measured_by() == {"s": "Yang et al. 2021"}


BAD: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "unknown": (
        "networks",
        lambda f: f.rename(columns={"test_loss": "test_los"}),
        "test_los: unknown key (did you mean `test_loss`?)",
    ),
    "key": ("networks", lambda f: f.drop(columns="batch_size"), "the column `batch_size` is missing"),
    "diverged": ("networks", lambda f: f.drop(columns="diverged"), "the column `diverged` is missing"),
    "text": ("networks", lambda f: f.assign(test_loss="low"), "the column `test_loss` has the type"),
    "half": (
        "networks",
        lambda f: f.assign(seed=f["seed"] + 0.5),
        "the column `seed` has the type double; it should hold int64",
    ),
    "number": (
        "networks",
        lambda f: f.assign(diverged=0),
        "the column `diverged` has the type int64; it should hold bool",
    ),
    "null": ("networks", lambda f: f.assign(seed=f["seed"].where(f.index != 3)), "the column `seed` is null in row 3"),
    "infinite": (
        "networks",
        lambda f: f.assign(test_loss=f["test_loss"].where(f.index != 3, float("inf"))),
        "the column `test_loss` is inf in row 3",
    ),
    "percent": (
        "networks",
        lambda f: f.assign(test_accuracy=100 * f["test_accuracy"]),
        "`test_accuracy` is 78.61 in row 0; it is between 0 and 1",
    ),
    "twice": (
        "networks",
        lambda f: pd.concat([f, f[7:8]]),
        "the row with cell width=64+depth=18+batch_size=16, seed 2 appears twice",
    ),
    "empty": ("networks", lambda f: f[:0], "there is no row"),
    "cell": ("networks", lambda f: f.assign(cell="a"), "the column `cell` names rows of cells.parquet; add this file"),
    "study": ("networks", lambda f: f.assign(study="t"), "the column `study` has no row of s, but of t"),
    "stranger": (
        "curvature",
        lambda f: f.assign(seed=f["seed"] + 1),
        "seed 5 of the cell width=8+depth=18+batch_size=16 is not in networks.parquet",
    ),
    "pair": (
        "connections",
        lambda f: f.assign(seed_a=f["seed_b"], seed_b=f["seed_a"]),
        "row 0 is a pair whose seed_a is not the smaller one",
    ),
    "kinds": ("connections", lambda f: f.drop(columns="kind"), "the row with cell"),
}


@pytest.mark.parametrize(("name", "change", "sentence"), BAD.values(), ids=BAD)
def test_a_bad_table_is_refused_with_a_sentence(
    folder: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame], sentence: str
) -> None:
    edit(folder, name, change)
    assert mistakes(folder)[0].startswith(f"{name}.parquet: {sentence}")


def test_a_folder_that_holds_no_study_is_refused(folder: Path) -> None:
    shutil.copy(folder / "measured/paths.parquet", folder / "measured/path.parquet")
    assert mistakes(folder)[0].startswith("path.parquet: unknown key (did you mean `paths`?)")
    (folder / "measured/path.parquet").unlink()
    (folder / "measured/paths.parquet").write_text("no table")
    assert mistakes(folder)[0].startswith("paths.parquet: this file cannot be read")
    (folder / "measured/networks.parquet").unlink()
    assert "the file networks.parquet is missing" in mistakes(folder)[0]
    assert mistakes(folder, STUDY | {"tables": "nowhere"})[0].endswith("there is no such folder")


@pytest.mark.parametrize(
    ("study", "sentence"),
    [
        ({"tables": "measured"}, ": the key `source` is missing, which says whose measurements the tables are"),
        (
            STUDY | {"grid": {"batch_size": [8], "seed": 2}},
            ".grid: a study made of tables trains nothing and has no such key",
        ),
        (
            STUDY | {"analyses": {"movement": {}}},
            ".analyses.movement: this needs networks; a study made of tables has only tables",
        ),
        (small_study() | {"source": "me"}, ".source: this belongs to `tables`, measurements made elsewhere"),
        ({"training": {}}, ": the key `grid` is missing"),
    ],
    ids=["source", "grid", "analysis", "trained", "nothing"],
)
def test_keys_that_do_not_go_together_are_refused(folder: Path, study: dict[str, Any], sentence: str) -> None:
    assert mistakes(folder, study) == [f"studies.s{sentence}"]


def test_cells_may_have_further_axes(folder: Path) -> None:
    """Two weight decays, which only `cells.parquet` tells apart."""

    def doubled(rows: pd.DataFrame) -> pd.DataFrame:
        name = rows["width"].astype(str) + " " + rows["batch_size"].astype(str)
        return pd.concat([rows.assign(cell=name + end) for end in ("", " decayed")])

    for path in (folder / "measured").glob("*.parquet"):
        edit(folder, path.stem, doubled)
    cells = pd.read_parquet(folder / "measured/networks.parquet")[["cell", "width", "depth", "batch_size"]]
    cells = cells.drop_duplicates().assign(weight_decay=lambda f: f["cell"].str.endswith("decayed") * 0.5)
    cells.to_parquet(folder / "measured/cells.parquet", index=False)
    study = loaded_from(folder, configuration(s=STUDY)).studies["s"]
    assert len(study.axes()) == 8
    axes = {"width": 8, "depth": 18, "batch_size": 128, "weight_decay": 0.5}
    assert study.axes()[f"{CELL}+weight_decay=0.5"] == axes
    edit(folder, "cells", lambda f: f[1:])
    assert "networks.parquet: the cell 8 16 is not in cells.parquet" in mistakes(folder)


def test_tables_that_are_made_from_others_are_not_read_and_that_is_said(folder: Path) -> None:
    """As in a folder of another run, whose studies are told apart by the column `study`."""
    for path in (folder / "measured").glob("*.parquet"):
        edit(folder, path.stem, lambda f: pd.concat([f.assign(study="s"), f.assign(study="t")]))
    (folder / "measured/claims.parquet").write_text("not read")
    (notice,) = loaded_from(folder, configuration(s=STUDY)).notices
    assert notice.endswith("not read are claims, since Isthmus makes these tables from the others")
    assert taken(folder / "measured", "networks", "s").num_rows == 20


def test_the_example_of_the_page_is_a_study(tmp_path: Path) -> None:
    (tmp_path / "measured").mkdir()
    (code,), (config,) = blocks("elsewhere.md", "python"), blocks("elsewhere.md", "yaml")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    study = loaded_from(tmp_path, yaml.safe_load(config)).studies["theirs"]
    assert (len(study.axes()), study.seeds) == (3, (0, 1, 2))


def test_claims_about_barriers_need_as_many_points_as_count_as_enough() -> None:
    claims = [claim for claim in parse_claims(read_claims()) if claim.quantity.startswith("barrier")]
    assert len(claims) == 13
    assert all(claim.where["points"] == {"at_least": FEWEST_POINTS} for claim in claims)
