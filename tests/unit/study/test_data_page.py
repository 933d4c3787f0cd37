"""What docs/data.md shows works as it stands: its code writes files, and its configurations read them."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from running import blocks

from isthmus.data.sources import prepare
from isthmus.study.config import Configuration, load

PAGE = "data.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the code of the page writes."""
    made = tmp_path_factory.mktemp("page")
    for block in blocks(PAGE, "python"):
        subprocess.run([sys.executable, "-c", block], cwd=made, check=True)
    return made


@pytest.mark.parametrize(
    ("number", "name", "kind"),
    [
        (0, "MNIST", ("images", "classification")),
        (1, "pets", ("images", "classification")),
        (2, "my-images", ("images", "classification")),
        (3, "curves", ("values", "regression")),
        (4, "sums", ("tokens", "classification")),
        (5, "CIFAR10", ("images", "classification")),
    ],
)
def test_every_configuration_of_the_page_is_accepted_and_its_files_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, name: str, kind: tuple[str, str]
) -> None:
    monkeypatch.chdir(folder)
    found: Configuration = load(yaml.safe_load(blocks(PAGE, "yaml")[number]))
    facts = found.facts[name]
    assert (facts.inputs, facts.task) == kind
    if found.datasets[name]["source"] != "builtin":  # torchvision's files are not here
        prepared = prepare(name, found.datasets[name])
        assert prepared.train_images.shape == (facts.train_size, *facts.shape)
        assert len(prepared.test_labels) == facts.test_size


def test_the_page_has_no_other_configurations() -> None:
    assert len(blocks(PAGE, "yaml")) == 6
