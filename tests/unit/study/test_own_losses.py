"""Losses of the user's own in the configuration: recipes, and mistakes that are found before any job runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from running import configuration, folder_with, loaded_from, small_study

from isthmus.core.errors import ConfigurationError
from isthmus.recipes.recipe import Recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the losses, which keeps what is known about them. Losses are not to be changed."""
    return folder_with(tmp_path_factory, "own_losses.py")


@pytest.fixture(autouse=True)
def working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def recipe_of(loss: str) -> Recipe:
    study = small_study(width=[4]) | {"training": {"loss": loss}}
    (cell,) = loaded_from("presets", configuration(s=study)).studies["s"].cells.values()
    return cell.recipe


def mistake(loss: str, grid: dict[str, Any] | None = None) -> str:
    study = small_study(**(grid or {})) | {"training": {"loss": loss}}
    with pytest.raises(ConfigurationError) as error:
        loaded_from("presets", configuration(s=study))
    (line,) = str(error.value).splitlines()[1:]
    return line


def test_an_edit_of_the_loss_changes_the_recipe_and_a_comment_does_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(folder, tmp_path / "edited"))
    before = recipe_of("own_losses.py:focal")
    assert before.training.loss == "presets/own_losses.py:focal"
    assert Recipe.from_dict(json.loads(json.dumps(before.as_dict()))) == before
    file = Path("presets/own_losses.py")
    file.write_text("# a comment\n" + file.read_text())
    assert recipe_of("own_losses.py:focal") == before
    file.write_text(file.read_text().replace("(1 - (-losses).exp()).square()", "(1 - (-losses).exp())"))
    assert recipe_of("own_losses.py:focal") != before


def test_the_recipes_of_built_in_losses_say_nothing_about_a_source() -> None:
    recipe = recipe_of("squared_error")
    assert "loss_source" not in recipe.as_dict()["training"]
    assert Recipe.from_dict(recipe.as_dict()) == recipe


def test_a_loss_is_checked_once() -> None:
    def answers() -> dict[Path, int]:
        recipe_of("own_losses.py:focal")
        return {path: path.stat().st_mtime_ns for path in Path("results/models").iterdir()}

    first = answers()
    assert first
    assert answers() == first


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("cross_entrpy", 'studies.s.training.loss: "cross_entrpy" was given; allowed is one of cross_entropy'),
        ("absent.py:focal", "studies.s.training.loss: presets/absent.py:focal was given; there is no file"),
        ("own_losses.py:absent", "studies.s.training.loss: presets/own_losses.py:absent: "),
        ("own_losses.py:broken", "RuntimeError: "),
        ("torch.nn.functional:cross_entropy", "needed is one loss for each example"),
    ],
)
def test_what_is_wrong_with_a_loss_is_said_before_any_job(loss: str, message: str) -> None:
    assert message in mistake(loss)


def test_the_line_of_an_error_in_the_users_file_is_named() -> None:
    assert "presets/own_losses.py, line" in mistake("own_losses.py:broken")


def test_a_loss_of_ones_own_is_no_axis() -> None:
    study = small_study(loss=["cross_entropy", "own_losses.py:focal"])
    with pytest.raises(ConfigurationError, match=r"grid\.loss: .*give a function of your own as training\.loss"):
        loaded_from("presets", configuration(s=study))
