"""What Snakemake says of a run, kept as a file, so that tests of the console see a real run in no time.

    python tests/support/recorded.py FILE [arguments of Snakemake]

runs the workflow and writes the records of its log as lines of JSON. `records` reads them again.
"""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

# What the console reads; Snakemake's own objects come along as text.
KEPT = (
    *("created", "levelno", "msg", "event", "stats", "nodes", "jobid", "job_id", "rule_name", "rule_msg", "reason"),
    *("output", "log", "benchmark", "aux_logs", "job_error_info", "expected_seconds"),
)


class Recorder(logging.Filter):
    """Keeps every record that passes."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[dict[str, Any]] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.kept.append({key: getattr(record, key) for key in KEPT if getattr(record, key, None) is not None})
        return True


def records(file: Path) -> Iterator[logging.LogRecord]:
    """The records of such a file."""
    for line in file.read_text().splitlines():
        kept = json.loads(line)
        if "event" in kept:
            kept["event"] = LogEvent(kept["event"])
        if "expected_seconds" in kept:
            kept["expected_seconds"] = {int(number): tuple(each) for number, each in kept["expected_seconds"].items()}
        blank = (
            dict.fromkeys(("rule_msg", "benchmark"))
            if kept.get("event") in {LogEvent.JOB_INFO, LogEvent.JOB_ERROR}
            else {}
        )
        yield logging.makeLogRecord({"msg": None, "args": None} | blank | kept)


def main() -> None:
    from snakemake import cli

    recorder = Recorder()
    logging.getLogger("snakemake.logging").addFilter(recorder)
    try:
        cli.main(sys.argv[2:])
    finally:
        Path(sys.argv[1]).write_text("".join(json.dumps(kept, default=str) + "\n" for kept in recorder.kept))


if __name__ == "__main__":
    main()
