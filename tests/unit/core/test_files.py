"""Files are whole or as they were, and a user is told in a sentence why one cannot be written."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from disks import disk, remount

from isthmus.core.errors import UserError
from isthmus.core.files import expanded, require_room, write_whole
from isthmus.core.logs import job_log
from isthmus.core.tensors import load_tensors, save_tensors

LARGE = b"x" * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    with disk(tmp_path / "disk", "64k") as folder:
        yield folder


def test_a_full_disk_is_named_and_leaves_what_was_there(small_disk: Path) -> None:
    path = small_disk / "file"
    write_whole(path, lambda temporary: temporary.write_bytes(b"before"))
    with pytest.raises(UserError, match=f"{path} cannot be written: No space left on device. Free some space"):
        write_whole(path, lambda temporary: temporary.write_bytes(LARGE))
    assert path.read_bytes() == b"before"
    assert list(small_disk.iterdir()) == [path]


def test_tensors_do_not_fit_on_a_full_disk_either(small_disk: Path) -> None:
    path = small_disk / "weights.safetensors"
    save_tensors(path, {"a": torch.ones(3)}, {})
    with pytest.raises(UserError, match=r"weights.safetensors cannot be written: .*No space left on device"):
        save_tensors(path, {"a": torch.ones(2**18)}, {})
    assert load_tensors(path)[0]["a"].tolist() == [1, 1, 1]
    assert list(small_disk.iterdir()) == [path]


def test_a_disk_to_be_read_only_is_named(small_disk: Path) -> None:
    remount(small_disk, "ro")
    for path in (small_disk / "file", small_disk / "folder" / "file"):
        with pytest.raises(UserError, match=f"{path} cannot be written: Read-only file system"):
            write_whole(path, lambda temporary: temporary.write_bytes(b""))


def test_a_folder_without_room_or_the_right_to_write_is_named(small_disk: Path) -> None:
    require_room(small_disk, room=2**15)
    with pytest.raises(UserError, match=f"{small_disk} cannot be written: its disk has 65536 bytes left"):
        require_room(small_disk)
    remount(small_disk, "ro")
    with pytest.raises(UserError, match=f"{small_disk} cannot be written: it is read-only"):
        require_room(small_disk, room=0)


def test_a_log_that_cannot_be_written_is_said_in_a_sentence(
    small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = small_disk / "logs" / "train.log"

    def write(temporary: Path) -> None:
        logging.info(LARGE.decode())
        temporary.write_bytes(LARGE)

    with pytest.raises(SystemExit, match="weights cannot be written: No space left on device"), job_log(path):
        write_whole(small_disk / "weights", write)
    assert "Traceback" not in capfd.readouterr().err
    remount(small_disk, "ro")
    with pytest.raises(SystemExit, match=f"{path} cannot be written: Read-only file system"), job_log(path):
        pytest.fail("nothing runs without a log")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"")
    with pytest.raises(UserError, match=r"folder/file cannot be written: (Not a directory|File exists)"):
        write_whole(tmp_path / "folder" / "file", lambda temporary: temporary.write_bytes(b""))


def test_an_unknown_home_folder_is_named() -> None:
    with pytest.raises(UserError, match="~nobody-has-this-name/a: there is no such home folder"):
        expanded("~nobody-has-this-name/a")


def out_of_memory() -> None:
    raise MemoryError


@pytest.mark.parametrize("fill", [lambda: torch.ones(2**55), out_of_memory], ids=["torch", "python"])
def test_too_little_memory_is_said_in_a_sentence(tmp_path: Path, fill: object) -> None:
    with pytest.raises(SystemExit, match=r"The job ran out of memory \(.*\). Give it more"), job_log(tmp_path / "log"):
        fill()
    assert "Traceback" in (tmp_path / "log").read_text()
