"""Folders of images in the real workflow: they are prepared once, and again when an image changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running import configuration, planned, small_study, succeed

from isthmus.data.dataset import load_dataset

PREPARED = "results/data/mine.safetensors"


def config(root: str) -> dict[str, Any]:
    studies = configuration(small=small_study(batch_size=[1]) | {"data": {"name": "mine"}})
    return studies | {"datasets": {"mine": {"source": "folder", "train": f"{root}/train", "test": f"{root}/test"}}}


@pytest.mark.exhaustive
def test_a_new_image_is_prepared_and_a_move_of_the_folders_changes_nothing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 6, 6), dtype=np.uint8)
    for half, images in zip(("train", "test"), pixels, strict=True):
        for name, image in zip("ab", images, strict=True):
            (tmp_path / "here" / half / name).mkdir(parents=True)
            Image.fromarray(image).save(tmp_path / "here" / half / name / "1.png")
    succeed(tmp_path, config("here"), PREPARED)
    np.testing.assert_array_equal(load_dataset(tmp_path / PREPARED).test_images[:, 0], pixels[1])
    (tmp_path / "here").rename(tmp_path / "there")
    assert planned(tmp_path, config("there"), PREPARED) == set()
    Image.fromarray(pixels[0, 0]).save(tmp_path / "there" / "test" / "b" / "0.png")
    succeed(tmp_path, config("there"), PREPARED)
    data = load_dataset(tmp_path / PREPARED)
    np.testing.assert_array_equal(data.test_images[:, 0], pixels[[1, 0, 1], [0, 0, 1]])
    assert data.test_labels.tolist() == [0, 1, 1]
