"""Folders of images, one for each class: what is decoded, in which order, and what is refused."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import described
from PIL import Image
from torchvision.datasets import ImageFolder

from isthmus.core.errors import ConfigurationError, DataError
from isthmus.data.facts import Facts, facts
from isthmus.data.image_folders import digest
from isthmus.data.sources import prepare
from isthmus.study.config import load
from isthmus.study.graph import Graph

CLASSES = ("10", "9", "Cat", "dog")
"""In the order of their names: digits by their characters, and capitals before small letters."""


def write_images(root: Path, height: int = 8) -> dict[str, Any]:
    """The description of a data set of four classes, with PNG and JPEG files written in no order."""
    random = np.random.default_rng(0)
    for half, names in (("train", ("b.JPG", "10.png", "9.png", "a.jpeg")), ("test", ("x.png", "c.jpg"))):
        for label in reversed(CLASSES):
            (root / half / label).mkdir(parents=True)
            for name in names:
                pixels = random.integers(0, 256, (height, 10, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / half / label / name)
    return described(source="folder", train=str(root / "train"), test=str(root / "test"))


@pytest.mark.parametrize("height", [8, 600])
def test_images_and_labels_are_those_of_torchvision(tmp_path: Path, height: int) -> None:
    """Also of images that are large enough for several threads."""
    description = write_images(tmp_path, height)
    assert facts("mine", description) == Facts(16, 8, (3, height, 10), 4)
    prepared = prepare("mine", description)
    for half, images, labels in (
        ("train", prepared.train_images, prepared.train_labels),
        ("test", prepared.test_images, prepared.test_labels),
    ):
        reference = ImageFolder(tmp_path / half)
        assert reference.classes == list(CLASSES)
        assert labels.tolist() == reference.targets
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(images, [np.asarray(image).transpose(2, 0, 1) for image, _ in reference])
    assert prepared.classes == 4


def test_gray_images_have_one_channel_and_are_repeated_among_colours(tmp_path: Path) -> None:
    description = write_images(tmp_path)
    gray = np.random.default_rng(1).integers(0, 256, (8, 10), dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "train" / "dog" / "z.png")
    np.testing.assert_array_equal(prepare("mine", description).train_images[-1], [gray] * 3)
    for file in tmp_path.glob("*/*/*"):
        Image.fromarray(gray).save(file.with_suffix(".png"))
        if file.suffix != ".png":
            file.unlink()
    assert facts("mine", description).shape == (1, 8, 10)
    assert (prepare("mine", description).test_images == gray).all()


def test_hidden_files_and_folders_are_skipped_and_links_followed(tmp_path: Path) -> None:
    description = write_images(tmp_path)
    for hidden in ("train/.DS_Store", "train/dog/.DS_Store", "test/.cache/1.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_text("not an image")
    (tmp_path / "train" / "dog").rename(tmp_path / "elsewhere")
    (tmp_path / "train" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "dog" / "z.png").symlink_to(tmp_path / "train" / "Cat" / "9.png")
    assert facts("mine", description) == Facts(17, 8, (3, 8, 10), 4)
    assert len(prepare("mine", description).train_images) == 17


def test_facts_decode_the_first_training_image_only(tmp_path: Path) -> None:
    description = write_images(tmp_path)
    for file in tmp_path.glob("*/*/*"):
        if file != tmp_path / "train" / "10" / "10.png":
            file.write_bytes(b"")
    assert facts("mine", description) == Facts(16, 8, (3, 8, 10), 4)


def removed(folder: Path) -> None:
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    folder.rmdir()


def emptied(folder: Path) -> None:
    removed(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("spoil", "place", "message"),
    [
        (removed, "train", "cannot be read as a folder of images (No such file or directory). Put it there"),
        (emptied, "train", "has no folders of classes"),
        (emptied, "test/dog", "has no images"),
        (lambda file: file.touch(), "train/notes.txt", "lies beside the folders of the classes"),
        (lambda file: file.touch(), "train/1.png", "lies beside the folders of the classes"),
        (lambda file: file.touch(), "test/dog/boxes.txt", "is not an image by its name: known are .bmp, .jpeg"),
        (lambda file: file.mkdir(), "test/dog/images", "is a folder or a broken link"),
        (lambda file: file.symlink_to("nowhere"), "test/dog/1.png", "is a folder or a broken link"),
    ],
)
def test_what_a_listing_shows_is_refused_before_any_job(
    tmp_path: Path, spoil: Callable[[Path], None], place: str, message: str
) -> None:
    description = write_images(tmp_path)
    spoil(tmp_path / place)
    study = {"data": {"name": "mine"}, "grid": {"width": [4], "depth": [1], "batch_size": [4], "seed": 1}}
    expected = f"studies.s.data.name: {re.escape(str(tmp_path / place))} {re.escape(message)}"
    with pytest.raises(ConfigurationError, match=expected) as error:
        load({"datasets": {"mine": description}, "studies": {"s": study}})
    assert len(str(error.value).splitlines()) == 2


def test_classes_of_one_half_only_are_named(tmp_path: Path) -> None:
    description = write_images(tmp_path)
    removed(tmp_path / "train" / "dog")
    with pytest.raises(DataError, match=r"train lacks classes that .*test has: dog\. "):
        facts("mine", description)
    for label in (*CLASSES, *"ABC"):
        (tmp_path / "train" / label).mkdir(exist_ok=True)
        Image.new("RGB", (10, 8)).save(tmp_path / "train" / label / "0.png")
    removed(tmp_path / "test")
    write_images(tmp_path / "other")
    (tmp_path / "other" / "test").rename(tmp_path / "test")
    for label in CLASSES[1:]:
        removed(tmp_path / "test" / label)
    with pytest.raises(DataError, match=r"test lacks classes that .*train has: 9, A, B, C, Cat and 1 more\. "):
        facts("mine", description)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>404</html>", "is not an image that can be decoded"),
        (np.zeros((9, 10, 3), np.uint8), "is an image of 3 x 9 x 10, the first training image is one of 3 x 8 x 10"),
        (np.full((8, 10), 40_000, np.uint16), "more than 8 bits per channel"),
    ],
)
@pytest.mark.parametrize("place", ["train/Cat/9.png", "test/dog/x.png"])
def test_an_image_that_does_not_fit_is_named(tmp_path: Path, content: Any, message: str, place: str) -> None:
    description = write_images(tmp_path)
    file = tmp_path / place
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        Image.fromarray(content).save(file)
    with pytest.raises(DataError, match=f"^{re.escape(str(file))} .*{message}") as error:
        prepare("mine", description)
    assert "\n" not in str(error.value)


def test_the_digest_changes_with_every_image_but_not_with_the_place(tmp_path: Path) -> None:
    write_images(tmp_path / "here")
    folder = tmp_path / "here" / "train"
    seen = [digest(str(folder))]

    def changed() -> bool:
        seen.append(digest(str(folder)))
        return seen[-1] not in seen[:-1]

    image = folder / "dog" / "9.png"
    image.rename(image.with_name("new.png"))
    assert changed()
    image.with_name("new.png").rename(folder / "Cat" / "new.png")
    assert changed()
    (folder / "Cat" / "new.png").unlink()
    assert changed()
    Image.new("RGB", (10, 8)).save(image)
    assert changed()
    os.utime(image, ns=(0, 0))  # another image of the same size
    assert changed()
    (tmp_path / "here").rename(tmp_path / "there")
    assert digest(str(tmp_path / "there" / "train")) == seen[-1]


def test_what_is_in_the_folders_is_part_of_the_content_and_where_they_are_is_not(tmp_path: Path) -> None:
    def graph(root: Path) -> Graph:
        description = {"source": "folder", "train": str(root / "train"), "test": str(root / "test")}
        study = {"data": {"name": "mine"}, "grid": {"width": [4], "depth": [1], "batch_size": [4], "seed": 1}}
        claims: dict[str, Any] = {"sources": {}, "claims": []}
        return Graph(load({"datasets": {"mine": description}, "studies": {"s": study}}), claims)

    write_images(tmp_path / "here")
    before = graph(tmp_path / "here").content("mine")
    assert graph(tmp_path / "here").sources("mine") == []
    (tmp_path / "here").rename(tmp_path / "there")
    assert graph(tmp_path / "there").content("mine") == before
    (tmp_path / "there" / "test" / "dog" / "x.png").unlink()
    after = graph(tmp_path / "there").content("mine")
    assert {key for key in before if before[key] != after[key]} == {"test"}
