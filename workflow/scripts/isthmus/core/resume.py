"""Records: results that are computed once and not again, in one small file each.

The finished measurements of a job are records, so that a restarted job continues where it stopped. A record is plain
JSON, stored with a fingerprint of everything it depends on and a checksum, and written atomically. Numbers are restored
to the last bit; a record with a flipped bit is never used.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.core.errors import DataError, Interrupted
from isthmus.core.files import sha256_of, write_whole
from isthmus.core.logs import StopRequest
from isthmus.core.progress import Progress


def fingerprint(*parts: Any) -> str:
    """One digest of everything that a measurement or a training run depends on, given as JSON values.

    >>> fingerprint({"width": 4}, "code") == fingerprint({"width": 4}, "other code")
    False
    """
    return sha256_of(json.dumps(parts, sort_keys=True).encode())


@dataclass(frozen=True)
class Record:
    """What a record says, as JSON values, and the fingerprint of everything it depends on."""

    fingerprint: str
    content: Any


def write_record(path: Path | str, record: Record, first: bool = False) -> None:
    """Write a record; keep what is there by now, if it is to be the `first`.

    Raises ValueError if its content is not finite, and TypeError if JSON cannot hold it.
    """
    digest = fingerprint(record.fingerprint, record.content)
    stored = {"fingerprint": record.fingerprint, "content": record.content, "sha256": digest}
    text = json.dumps(stored, allow_nan=False)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), first)


def read_record(path: Path | str) -> Record | None:
    """Read a record; None if there is none. A damaged one is renamed to `.damaged`, and the log says so."""
    path = Path(path)
    if not path.exists():
        return None
    try:
        return _read(path)
    except DataError as error:
        logging.warning("%s: set aside", error)
        path.replace(path.with_name(path.name + ".damaged"))
        return None


def _read(path: Path) -> Record:
    """Read a record. Raises DataError if it is damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["sha256"] != fingerprint(stored["fingerprint"], stored["content"]):
            raise ValueError("its checksum does not match")
        return Record(stored["fingerprint"], stored["content"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error})") from error


@dataclass(frozen=True)
class Task:
    """A measurement to make: `measure` returns what JSON can hold, and depends only on what `fingerprint` covers."""

    fingerprint: str
    measure: Callable[[], Any]


def measure_all(folder: Path | str, tasks: Mapping[str, Task], stop: StopRequest, what: str) -> dict[str, Any]:
    """The results of all tasks, by name: read from `folder` if an earlier attempt left them, else measured and stored.

    what: the tasks in a word or two, for the log. Raises Interrupted if the job was told to stop.
    """
    progress, found = Progress(what, len(tasks)), {}
    for name, task in tasks.items():
        found[name] = recall(Path(folder, f"{name}.json"), task, stop)
        progress.report(len(found))
        if stop.signal_number is not None:
            raise Interrupted(stop.signal_number)
    return found


def recall(path: Path, task: Task, stop: StopRequest) -> Any:
    """The result in the file `path`, if it has the task's fingerprint; else measure the task and store its result.

    A request to stop ends a measurement in its middle: raises Interrupted.

    A file that has another fingerprint is reported in the log and replaced; a damaged one is renamed to `.damaged`.
    """
    kept = read_record(path)
    if kept is not None and kept.fingerprint == task.fingerprint:
        return kept.content
    if kept is not None:
        logging.info("%s belongs to another recipe, data or code: measuring again", path)
    with stop.at_once():
        measured = task.measure()
    content = json.loads(json.dumps(measured, allow_nan=False))  # as another attempt will read it
    write_record(path, Record(task.fingerprint, content))
    return content


def first_record(path: Path, mark: str, measure: Callable[[], Any]) -> Any:
    """The content of the file `path`, or else what `measure` returns, which is stored with the fingerprint `mark`.

    If several processes measure at once, all get what the first of them stored. Raises DataError if the file is
    damaged.

    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp(), "choice.json")
    >>> first_record(path, "mark", lambda: "first"), first_record(path, "mark", lambda: "second")
    ('first', 'first')
    """
    if not path.exists():
        write_record(path, Record(mark, measure()), first=True)
    try:
        return _read(path).content
    except DataError as error:
        raise DataError(f"{error}; delete it and run the workflow again to make it anew") from error
