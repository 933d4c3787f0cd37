"""A study made of tables in the real workflow, beside one that trains: nothing of either changes the other."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from running import ROOT, configuration, planned, read, run_once, small_study, succeed

STUDY: dict[str, Any] = {
    "tables": "measured",
    "source": "Yang et al. 2021",
    "remarks": "Losses are those of all images.",
    "analyses": {"relations": {}},
}
CONFIG = configuration(own=small_study(), theirs=STUDY)
TARGETS = ("tables", "results/overview.html")  # which draws a few figures only
pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the workflow ran both studies. The given one has six cells of the published networks."""

    def run(made: Path) -> None:
        (made / "measured").mkdir()
        for path in (ROOT / "presets/yang2021").glob("*.parquet"):
            rows = pd.read_parquet(path)
            rows = rows[rows["width"].isin([8, 32, 128]) & rows["batch_size"].isin([128, 1024])]
            rows.to_parquet(made / "measured" / path.name, index=False)
        succeed(made, CONFIG, *TARGETS)

    return run_once(tmp_path_factory, "elsewhere", run)


def test_given_rows_are_collected_as_they_are(folder: Path) -> None:
    given = pd.read_parquet(folder / "measured/networks.parquet")
    pd.testing.assert_frame_equal(read(folder, "networks", "theirs")[given.columns], given, check_dtype=False)
    assert read(folder, "networks", "own")["seconds"].notna().all()


def test_a_column_that_may_now_be_null_is_no_key(folder: Path) -> None:
    """Nobody published after how many epochs these networks were measured."""
    described = json.loads((folder / "results/tables/datapackage.json").read_text())
    schemas = {resource["name"]: resource["schema"] for resource in described["resources"]}
    assert "primaryKey" in schemas["networks"]
    assert "primaryKey" not in schemas["curvature"]


def test_effects_are_the_slopes_of_the_cells_means(folder: Path) -> None:
    """With three widths, each four times the last, the slope per doubling is a quarter of what the ends differ by."""
    given = pd.read_parquet(folder / "measured/curvature.parquet")
    effects = read(folder, "effects", "theirs").set_index(["quantity", "term", "selection"])["coefficient"]
    for quantity in ("top_eigenvalue", "trace"):
        means = np.log2(given[quantity]).groupby([given["batch_size"], given["width"]]).mean().unstack()
        assert effects[quantity, "width", "all"] == pytest.approx(((means[128] - means[8]) / 4).mean())


def test_claims_say_whose_measurements_they_are_about(folder: Path) -> None:
    claims = read(folder, "claims")
    measured = claims[claims["direction"] != "not measured"]
    theirs = measured["study"] == "theirs"
    assert set(measured.loc[theirs, "measured_by"]) == {"Yang et al. 2021"}
    assert measured.loc[theirs, "claim"].tolist().count("A3a") == 2
    assert not measured["claim"].isin(["B2a", "B2b"]).any()  # five points of a curve are too few for its barrier
    assert claims.loc[claims["study"] != "theirs", "measured_by"].isna().all()


def test_the_page_and_the_figures_say_whose_measurements_they_show(folder: Path) -> None:
    page = (folder / "results/overview.html").read_text()
    assert page.count("Measured by Yang et al. 2021, not here.") == 1
    assert "The study has 30 networks in 6 cells, measured by Yang et al. 2021." in page
    log = "\n".join(path.read_text() for path in (folder / "results/logs/figures/theirs").glob("*.log"))
    assert "theirs: drew barriers" in log


def test_a_changed_file_is_taken_again_and_no_network_is_trained(folder: Path) -> None:
    assert planned(folder, CONFIG, *TARGETS) == set()
    path = folder / "measured/curvature.parquet"
    before = path.read_bytes()
    try:
        pd.read_parquet(path).assign(loss=1.0).to_parquet(path, index=False)
        jobs = planned(folder, CONFIG, *TARGETS)
    finally:
        path.write_bytes(before)
    assert {"Taking the table curvature of theirs", "Collecting the table curvature"} <= jobs
    assert not any("own" in job or job.startswith("Training") for job in jobs)
