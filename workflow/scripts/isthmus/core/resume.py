"""What a job has measured so far, one small file per measurement, so that a job that is run again goes on from there.

A record is plain JSON under the fingerprint of everything it depends on, written whole or not at all. Numbers come
back to the last bit.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.core.files import write_whole


@dataclass(frozen=True)
class Records:
    """The records in a folder."""

    folder: Path

    def recall(self, name: str, fingerprint: str, measure: Callable[[], Any]) -> Any:
        """The record `name` if it is there under this fingerprint; else what `measure` returns, kept as the record.

        A damaged record, or one of another fingerprint, is reported in the log and measured anew.
        """
        path = self.folder / f"{name}.json"
        if path.exists():
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                if record["fingerprint"] == fingerprint:
                    return record["content"]
                logging.info("%s belongs to another recipe, data or code: measured anew", path)
            except (ValueError, KeyError, TypeError) as error:
                logging.warning("%s is damaged (%s): measured anew", path, error)
        content = measure()
        text = json.dumps({"fingerprint": fingerprint, "content": content}, allow_nan=False)
        write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        return content
