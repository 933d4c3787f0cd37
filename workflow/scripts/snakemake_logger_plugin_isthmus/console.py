"""What is shown of a run: a line for each job, the share of the work that is done, the time left, and failures."""

import re
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from logging import ERROR, WARNING, LogRecord
from pathlib import Path
from typing import Any, TextIO

from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import OutputSettingsLoggerInterface

from snakemake_logger_plugin_isthmus.run import Job, Run
from snakemake_logger_plugin_isthmus.screen import Screen

SECOND = 1.0  # how often a terminal is redrawn
SILENCE = 600.0  # seconds without a line, after which a file gets one
STEP = 0.1  # share of the work after which a file gets a line about it
SHOWN = 4  # running jobs on a terminal
CELLS = 20  # of the bar
TAIL = 12  # lines of a log

# What Snakemake says of every run, and what is said here in other words.
IN_PASSING = re.compile(
    r"Select jobs to execute|Reasons:|Using shell:|Conda environments: ignored|Singularity containers: ignored|"
    r"Group jobs: inactive|Assuming unrestricted shared filesystem|Elapsed time|Removing temporary output|"
    r"Job \d+ has been submitted|SLURM run ID|Cleaning up SLURM log files|Job rate limit reached|(None)?$"
)
PASSED_OVER = {
    LogEvent.WORKFLOW_STARTED,
    LogEvent.JOB_STARTED,
    LogEvent.GROUP_INFO,
    LogEvent.PROGRESS,
    LogEvent.SHELLCMD,
    LogEvent.RULEGRAPH,
}
AGAIN = re.compile(r"Trying to restart job (\d+)")
FULL_LOG = re.compile(r"Complete log\(s\): (.*)")
PERCENT = re.compile(r"\((\d+%)\)")


class Console:
    """Shows records of Snakemake's log, on a terminal or in a file. Records may come from one thread at a time."""

    def __init__(self, settings: OutputSettingsLoggerInterface, stream: TextIO | None = None) -> None:
        self.dry, self.verbose = settings.dryrun, settings.verbose
        self.screen = Screen(stream or (sys.stdout if settings.stdout else sys.stderr), not settings.nocolor)
        self.run: Run | None = None
        self.remote = False  # whether jobs run on other machines, where they may have to wait
        self._full_log, self._listed, self._interrupted = "", False, False
        self._said = self._latest = time.time()
        self._next, self._drawn = STEP, 0.0
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._takes = {
            LogEvent.RUN_INFO: self._begin,
            LogEvent.RESOURCES_INFO: self._resources,
            LogEvent.JOB_INFO: self._start,
            LogEvent.JOB_FINISHED: self._finish,
            LogEvent.JOB_ERROR: self._fail,
            LogEvent.GROUP_ERROR: self._fail_group,
        }

    def take(self, record: LogRecord) -> None:
        """Show a record, or what it changes."""
        event, self._latest = getattr(record, "event", None), record.created
        with self._lock:
            if expected := getattr(record, "expected_seconds", None):
                if self.run:
                    self.run.announce(expected)
            elif event in self._takes:
                self._takes[event](record)
            elif event not in PASSED_OVER or record.levelno >= WARNING:
                self._message(record)
            self._draw(record.created)

    def close(self) -> None:
        """Say what became of the run, and where to read on."""
        self._ended.set()
        with self._lock:
            self.screen.release()
            if self.run:
                self._say("\n".join(self._summary()))
                self.run = None

    # Events

    def _begin(self, record: Any) -> None:
        if not self.dry:
            self.run = Run(record.created, record.stats["total"])
            self.screen.capture()
            threading.Thread(target=self._watch, daemon=True).start()
        elif not self._listed:
            self._listed = True  # Snakemake counts the jobs of a dry run twice
            self._say(record.getMessage().strip())

    def _resources(self, record: Any) -> None:
        self.remote = self.remote or hasattr(record, "nodes")

    def _start(self, record: Any) -> None:
        if not record.output:
            return  # a rule that only collects others
        what = " ".join(str(record.rule_msg or record.rule_name).split())
        if self.dry:
            reasons = "; ".join(part.split(":")[0].strip().lower() for part in record.reason.split("; "))
            self._say(self._cut(f"{what} ({reasons})"))
        elif self.run:
            job = Job(what, record.rule_name, record.created, tuple(record.log), record.benchmark)
            self.run.start(record.jobid, job)

    def _finish(self, record: Any) -> None:
        job = self.run.finish(record.job_id, record.created) if self.run else None
        if self.run and job:
            self._say(self._cut(_line(_clock(record.created), self._seconds(job, record.created), job.what)))
            if not self.screen.terminal and self._next <= self.run.share(record.created) < 1:
                self._say(self._state(record.created))

    def _fail(self, record: Any) -> None:
        self.screen.pass_on()
        job = self.run.fail(record.jobid) if self.run else None
        what = job.what if job else record.rule_name
        after = f" after {_duration(record.created - job.started)}" if job else ""
        if self._interrupted:
            self._say(f"{_clock(record.created)}  Stopped{after}: {what}", "yellow")
        else:
            self._say(f"{_clock(record.created)}  FAILED{after}: {what}", "red")
            self._say("\n".join([*_indented(record.rule_msg), *_ends(record.log)]))

    def _fail_group(self, record: Any) -> None:
        self.screen.pass_on()
        self._say(f"{_clock(record.created)}  FAILED: a group of {len(record.job_error_info)} jobs", "red")
        self._say("\n".join([*_indented(record.getMessage()), *_ends(record.aux_logs)]))

    def _message(self, record: LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= WARNING:
            self.screen.pass_on()
            self._say(text.rstrip(), "red" if record.levelno >= ERROR else "yellow")
        elif found := FULL_LOG.match(text):
            self._full_log = found[1]
        elif (found := AGAIN.match(text)) and self.run and (job := self.run.failed.get(int(found[1]))):
            self._say(f"{_clock(record.created)}  Trying again: {job.what}", "yellow")
        elif text.startswith("Terminating processes on user request"):
            self._interrupted = True
            self._say("Stopping: running jobs save their state.")
        elif self.verbose or not IN_PASSING.match(text):
            self._say(text.rstrip())

    # What is shown

    def _watch(self) -> None:
        """Redraw a terminal every second, and end the silence in a file, until the run ends."""
        while not self._ended.wait(SECOND):
            with self._lock:
                now = time.time()
                self.screen.pass_on()
                self._draw(now)
                if self.run and not self.screen.terminal and now - self._said > SILENCE:
                    self._say("\n".join([self._state(now), *self._running(now)]))

    def _draw(self, now: float) -> None:
        """Redraw a terminal, but not for every record: of thousands of jobs, this takes a moment."""
        if self.run and self.screen.terminal and abs(now - self._drawn) > SECOND / 5:
            self._drawn = now
            full = round(CELLS * self.run.share(now))
            self.screen.draw([*self._running(now), f"[{'#' * full}{'.' * (CELLS - full)}] {self._state(now)}"])

    def _running(self, now: float) -> Iterator[str]:
        """The jobs that have run longest: how far they are by their logs, for how long they have run, what they do."""
        jobs = sorted(self.run.running.values(), key=lambda job: job.started) if self.run else []
        for job in jobs[:SHOWN]:
            said = "".join(_written_since(job.started, job.logs))
            percents = PERCENT.findall(said)
            far = percents[-1] if percents else "queued" if self.remote and not said else "running"
            yield self._cut(_line(far, now - job.started, job.what))
        if len(jobs) > SHOWN:
            yield f"and {len(jobs) - SHOWN} other jobs"

    def _state(self, now: float) -> str:
        """How far the run is, and how long it will still take."""
        assert self.run
        share, left = self.run.share(now), self.run.left(now)
        self._next = (share // STEP + 1) * STEP
        failed = f", {len(self.run.failed)} failed" if self.run.failed else ""
        rest = "" if left is None else f", about {_roughly(left)} left"
        return f"{int(100 * share)}% of the work, {len(self.run.finished)} of {self.run.total} jobs{failed}{rest}"

    def _summary(self) -> Iterator[str]:
        assert self.run
        took, finished, total = _duration(self._latest - self.run.started), len(self.run.finished), self.run.total
        if finished == total:
            yield f"All jobs have finished: {total} in {took}."
            return
        yield f"{finished} of {total} jobs have finished, in {took}. The same command continues from here."
        for job in self.run.failed.values() if not self._interrupted else ():
            yield f"  failed: {job.what}\n          {' '.join(job.logs)}"
        if self._full_log:
            yield f"Snakemake's full output: {self._full_log}"

    def _seconds(self, job: Job, now: float) -> float:
        """How long a job ran. On other machines, without the time it waited, if its benchmark says so."""
        if self.remote and job.benchmark and Path(job.benchmark).exists():
            header, values, *_ = Path(job.benchmark).read_text().splitlines()
            return float(dict(zip(header.split("\t"), values.split("\t"), strict=True))["s"])
        return now - job.started

    def _say(self, text: str, colour: str = "") -> None:
        if text:
            self.screen.say(text, colour)
            self._said = time.time()

    def _cut(self, line: str) -> str:
        return line if len(line) <= self.screen.width else line[: self.screen.width - 3] + "..."


def _line(first: str, seconds: float, what: str) -> str:
    return f"{first:>8}  {_duration(seconds):>8}  {what}"


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _roughly(seconds: float) -> str:
    """Seconds as one says them.

    >>> _roughly(20), _roughly(400), _roughly(9000), _roughly(200_000)
    ('a minute', '7 min', '2.5 h', '2.3 days')
    """
    if seconds < 90:
        return "a minute"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 129_600 else f"{seconds / 86_400:.1f} days"


def _indented(text: str | None) -> Iterator[str]:
    return (f"  {line}" for line in (text or "").strip().splitlines())


def _ends(logs: list[str]) -> Iterator[str]:
    """The last lines of logs, and where these are."""
    for log in logs:
        path = Path(log)
        if path.is_file():
            yield from (f"  | {line}" for line in path.read_text(errors="replace").splitlines()[-TAIL:])
        yield f"  see {log}"


def _written_since(moment: float, logs: tuple[str, ...]) -> Iterator[str]:
    """The last few lines of those logs that were written after this moment."""
    for path in map(Path, logs):
        if path.is_file() and path.stat().st_mtime >= moment:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - 2000))
                yield file.read().decode(errors="replace")
