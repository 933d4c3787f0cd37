"""What is known about a run of the workflow: its jobs, how long they should take, and how long they took."""

from collections.abc import Mapping
from dataclasses import dataclass

TRUST = 30.0  # seconds of finished jobs that say as much about other rules as the plan does
MOST_OF_A_JOB = 0.95  # what a running job counts at most, however long it has run


@dataclass(frozen=True)
class Job:
    """A job that was started. what: a line for people; started: in seconds since the epoch; logs: its log files."""

    what: str
    rule: str
    started: float
    logs: tuple[str, ...] = ()
    benchmark: str | None = None


class Run:
    """The jobs of a run, by their numbers. All times are seconds since the epoch.

    running, failed: the jobs that run, and those that have failed and were not started again. finished: only numbers.
    """

    def __init__(self, started: float, total: int) -> None:
        self.started, self.total = started, total
        self.running: dict[int, Job] = {}
        self.failed: dict[int, Job] = {}
        self.finished: set[int] = set()
        self._expected: dict[int, tuple[str, float]] = {}
        self._whole = self._done = self._spent = self._reached = 0.0
        # Seconds that finished jobs took, and should have; of all rules together, as if some had run as planned before.
        self._by_rule: dict[str, tuple[float, float]] = {}
        self._by_all = (TRUST, TRUST)

    def announce(self, expected: Mapping[int, tuple[str, float]]) -> None:
        """The rule of each job with work to do, and the seconds it should take. Without this, all jobs count alike."""
        self._expected = dict(expected)
        self._whole = sum(seconds for _, seconds in expected.values())

    def start(self, number: int, job: Job) -> None:
        """A job starts, for the first time or again after a failure."""
        self.failed.pop(number, None)
        self.running[number] = job

    def finish(self, number: int, now: float) -> Job | None:
        """A job has finished. None if its start was not reported."""
        self.finished.add(number)
        job = self.running.pop(number, None)
        took = now - job.started if job else 0.0
        self._spent += took
        if number in self._expected:
            rule, seconds = self._expected[number]
            self._done += seconds
            before = self._by_rule.get(rule, (0.0, 0.0))
            self._by_rule[rule] = before[0] + took, before[1] + seconds
            self._by_all = self._by_all[0] + took, self._by_all[1] + seconds
        return job

    def fail(self, number: int) -> Job | None:
        """A job has failed. None if its start was not reported."""
        job = self.running.pop(number, None)
        if job:
            self.failed[number] = job
        return job

    def share(self, now: float) -> float:
        """The share of the work that is done, from 0 to 1, as the plan counts work. It never falls."""
        whole, done = (self._whole, self._done) if self._expected else (self.total, len(self.finished))
        for number in self.running.keys() & self._expected.keys():
            part = (now - self.running[number].started) / self._likely(number)
            done += min(part, MOST_OF_A_JOB) * self._expected[number][1]
        self._reached = max(self._reached, min(done / whole, 1.0) if whole else 0.0)
        return self._reached

    def left(self, now: float) -> float | None:
        """Seconds until the end if as many jobs run at once as so far. None if nothing is known yet."""
        elapsed = max(now - self.started, 1.0)
        if not self._expected:
            return elapsed * (self.total / len(self.finished) - 1) if self.finished else None
        spent = self._spent + sum(now - job.started for job in self.running.values())
        at_once = max(spent / elapsed, len(self.running), 1.0)
        rest = []
        for number in self._expected.keys() - self.finished - self.failed.keys():
            likely = self._likely(number)
            ran = now - self.running[number].started if number in self.running else 0.0
            rest.append(max(likely - ran, (1 - MOST_OF_A_JOB) * likely))
        return max([sum(rest) / at_once, *rest], default=0.0)

    def _likely(self, number: int) -> float:
        """The seconds that a job should take, judged by the finished jobs of its rule, or by all of them."""
        rule, seconds = self._expected[number]
        took, expected = self._by_rule.get(rule) or self._by_all
        return max(seconds * took / expected, 1e-3)
