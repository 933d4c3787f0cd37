"""What people see of a run that was recorded: a file and a terminal, line by line."""

import io
import logging
import os
import pty
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from recorded import records
from running import SCRIPTS
from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_isthmus import LogHandler
from snakemake_logger_plugin_isthmus.console import Console
from snakemake_logger_plugin_isthmus.screen import Screen

RECORDED = Path(__file__).parent / "recorded.jsonl"


@dataclass
class Settings:
    """The settings of Snakemake that a logger plugin sees."""

    dryrun: bool = False
    verbose: bool = False
    nocolor: bool = False
    stdout: bool = False


class Terminal(io.StringIO):
    """A terminal, wide enough; `seen` is what stays on its screen."""

    def isatty(self) -> bool:
        return True

    def seen(self) -> list[str]:
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[\d*[A-Za-z]|\r|\n|[^\x1b\r\n]+", self.getvalue()):
            if part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
                lines += [""] * (row - len(lines) + 1)
            elif part == "\x1b[J":
                lines = [*lines[:row], lines[row][:column]]
            elif part.endswith("A"):
                row -= int(part[2:-1])
            elif not part.startswith("\x1b"):
                lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
                column += len(part)
        return lines


def shown(stream: io.StringIO, events: list[logging.LogRecord], **settings: bool) -> Console:
    console = Console(Settings(**settings), stream)
    for record in events:
        console.take(record)
    return console


@pytest.fixture(scope="module")
def events() -> list[logging.LogRecord]:
    """A run of 14 jobs, one of which failed twice, because what it reads was damaged."""
    return list(records(RECORDED))


@pytest.fixture(scope="module")
def lines(events: list[logging.LogRecord]) -> list[str]:
    stream = io.StringIO()
    shown(stream, events).close()
    return stream.getvalue().splitlines()


def of(events: list[logging.LogRecord], event: LogEvent) -> list[logging.LogRecord]:
    return [record for record in events if getattr(record, "event", None) == event]


def test_a_file_gets_one_line_for_every_job_that_finished(events: list[logging.LogRecord], lines: list[str]) -> None:
    messages = {record.jobid: record.rule_msg for record in of(events, LogEvent.JOB_INFO)}
    ended = [messages[record.job_id] for record in of(events, LogEvent.JOB_FINISHED) if messages.get(record.job_id)]
    found = [re.fullmatch(r"\d\d:\d\d:\d\d  +\d:\d\d:\d\d  (.*)", line) for line in lines]
    assert [each[1] for each in found if each] == ended


def test_lines_in_a_file_are_short_and_plain(lines: list[str]) -> None:
    assert max(map(len, lines)) <= 160
    assert all(line.isprintable() for line in lines)


def test_the_share_of_the_work_rises_to_the_end(lines: list[str]) -> None:
    shares = [int(each[1]) for line in lines if (each := re.match(r"(\d+)% of the work, \d+ of \d+ jobs", line))]
    assert len(shares) > 3
    assert shares == sorted(shares)
    assert shares[-1] <= 100


def test_a_failure_shows_the_end_of_its_log_and_where_it_is(events: list[logging.LogRecord], tmp_path: Path) -> None:
    error = of(events, LogEvent.JOB_ERROR)[0]
    log = tmp_path / "job.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    error = logging.makeLogRecord(error.__dict__ | {"log": [str(log), str(tmp_path / "missing.log")]})
    stream = io.StringIO()
    started = [record for record in events if record.created < error.created and getattr(record, "event", None)]
    shown(stream, [*started, error])
    said = stream.getvalue().splitlines()
    first = next(number for number, line in enumerate(said) if "FAILED after" in line)
    assert said[first + 1 : first + 13] == [f"  | line {number}" for number in range(88, 100)]
    assert said[first + 13 : first + 15] == [f"  see {log}", f"  see {tmp_path / 'missing.log'}"]


def test_a_failed_job_is_tried_again_and_counted_only_if_that_fails(lines: list[str]) -> None:
    assert sum("FAILED" in line for line in lines) == 2
    assert sum("Trying again" in line for line in lines) == 1
    assert re.match(r"\d+ of \d+ jobs have finished, in 0:0\d:\d\d\. The same command", lines[-4])
    assert lines[-3].startswith("  failed: Measuring the movement of small")
    assert lines[-2].strip().startswith("results/logs/movement/small/")


def test_warnings_and_errors_are_always_shown(events: list[logging.LogRecord], lines: list[str]) -> None:
    spoken = [record for record in events if record.levelno >= logging.WARNING and not hasattr(record, "jobid")]
    assert spoken
    for record in spoken:
        for line in record.getMessage().strip().splitlines():
            assert line.rstrip() in lines
    stream = io.StringIO()
    for level in (logging.WARNING, logging.ERROR):
        record = logging.makeLogRecord({"msg": f"Select jobs to execute {level}", "levelno": level})
        record.event = LogEvent.PROGRESS
        shown(stream, [record])
    assert stream.getvalue().splitlines() == ["Select jobs to execute 30", "Select jobs to execute 40"]


def test_a_terminal_keeps_the_lines_of_a_file_and_redraws_a_bar(
    events: list[logging.LogRecord], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    console = shown(terminal, events[: len(events) // 2])
    running, bar = [line for line in terminal.seen() if " running " in line], terminal.seen()[-1]
    assert running
    assert re.match(r"\[#+\.+\] \d+% of the work, \d+ of \d+ jobs, about .* left$", bar)
    for record in events[len(events) // 2 :]:
        console.take(record)
    console.close()
    plain = [line for line in lines if "% of the work" not in line]
    assert [line[:70] for line in terminal.seen() if line] == [line[:70] for line in plain]


def test_jobs_that_are_interrupted_are_stopped_and_not_failed(events: list[logging.LogRecord]) -> None:
    error = of(events, LogEvent.JOB_ERROR)[0]
    stop = logging.makeLogRecord({"msg": "Terminating processes on user request, this might", "levelno": logging.INFO})
    stream = io.StringIO()
    shown(stream, [*(record for record in events if record.created < error.created), stop, error]).close()
    assert "Stopped after 0:00:" in stream.getvalue()
    assert "failed" not in stream.getvalue().lower()


def test_on_a_cluster_jobs_wait_and_take_as_long_as_their_benchmarks_say(tmp_path: Path) -> None:
    benchmark, log = tmp_path / "job.tsv", tmp_path / "job.log"
    benchmark.write_text("s\th:m:s\n7.2\t0:00:07\n")
    common = {"levelno": logging.INFO, "created": 1e9, "rule_name": "train", "rule_msg": "Training", "output": ["one"]}
    job = common | {"event": LogEvent.JOB_INFO, "jobid": 1, "log": [str(log)], "benchmark": str(benchmark)}
    sent = [
        {"event": LogEvent.RESOURCES_INFO, "nodes": 100},
        common | {"event": LogEvent.RUN_INFO, "stats": {"total": 2}},
        job,
    ]
    console = shown(io.StringIO(), [logging.makeLogRecord(each) for each in sent])
    assert list(console._running(1e9 + 60)) == ["  queued   0:01:00  Training"]
    log.write_text("2026-11-29 10:00:00,000 step 3 of 10 (30%), 5 s left")
    assert list(console._running(1e9 + 60)) == ["     30%   0:01:00  Training"]
    console.screen = Screen(stream := io.StringIO())
    console.take(logging.makeLogRecord({"event": LogEvent.JOB_FINISHED, "created": 1e9 + 99, "job_id": 1}))
    assert stream.getvalue().splitlines()[0].endswith("  0:00:07  Training")
    lost = {"event": LogEvent.GROUP_ERROR, "levelno": 40, "msg": "lost", "aux_logs": [str(log)], "job_error_info": [1]}
    console.take(logging.makeLogRecord(lost))
    assert stream.getvalue().splitlines()[-2:] == [f"  | {log.read_text()}", f"  see {log}"]
    console.close()


def test_nothing_but_snakemakes_words_is_shown_when_nothing_is_to_be_done() -> None:
    stream = io.StringIO()
    shown(stream, [logging.makeLogRecord({"msg": f"{word}", "levelno": 20}) for word in ("Using shell: sh", "Nothing")])
    assert stream.getvalue() == "Nothing\n"


def test_a_dry_run_lists_jobs_with_reasons(events: list[logging.LogRecord]) -> None:
    stream = io.StringIO()
    shown(stream, events, dryrun=True).close()
    first = of(events, LogEvent.JOB_INFO)[0]
    assert f"{first.rule_msg} (missing output files)" in stream.getvalue().splitlines()
    assert "jobs have finished" not in stream.getvalue()


def test_what_jobs_write_to_the_terminal_themselves_stays_whole() -> None:
    """On a real terminal: a process writes a long text while lines are drawn below the others."""
    code = r"""
import os, subprocess, sys
from snakemake_logger_plugin_isthmus.screen import Screen
screen = Screen(sys.stderr)
screen.capture()
screen.draw(["one job", "another job", "the bar"])
subprocess.run([sys.executable, "-c", "import sys; print('an error\\nof two lines', file=sys.stderr)"])
print("and this")
sys.stdout.flush()
screen.pass_on()
screen.draw(["the bar"])
screen.release()
print("free again", file=sys.stderr)
"""
    terminal = Terminal()
    leader, follower = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS), "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", code], stdout=follower, stderr=follower, env=environment, check=True)
    terminal.write(os.read(leader, 10_000).decode().replace("\r\n", "\n"))
    assert [line for line in terminal.seen() if line] == ["an error", "of two lines", "and this", "free again"]


def test_an_error_in_the_console_leaves_the_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    handler = LogHandler(Settings(), None)
    handler.handle(logging.makeLogRecord({"event": LogEvent.JOB_FINISHED, "msg": ""}))
    handler.handle(logging.makeLogRecord({"event": LogEvent.RUN_INFO, "msg": ""}))
    handler.close()
    assert "Traceback" in capsys.readouterr().err
