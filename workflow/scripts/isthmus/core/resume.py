"""A job's finished measurements, one small file each, so that a restarted job continues where it stopped.

A record is plain JSON, stored with a fingerprint of everything it depends on and written atomically. Numbers are
restored to the last bit.
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
    """The records in one folder."""

    folder: Path

    def recall(self, name: str, fingerprint: str, measure: Callable[[], Any]) -> Any:
        """Return the record `name` if its fingerprint matches; otherwise call `measure` and store its result.

        A damaged record, or one with another fingerprint, is logged and measured again.
        """
        path = self.folder / f"{name}.json"
        if path.exists():
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                if record["fingerprint"] == fingerprint:
                    return record["content"]
                logging.info("%s belongs to another recipe, data or code: measuring again", path)
            except (ValueError, KeyError, TypeError) as error:
                logging.warning("%s is damaged (%s): measuring again", path, error)
        content = measure()
        text = json.dumps({"fingerprint": fingerprint, "content": content}, allow_nan=False)
        write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
        return content
