"""An occasional log line that says how far a long loop has come and how long it will still take."""

import logging
import time


class Progress:
    """Log at most one line every `every` seconds: what is running, how far it is, and the time left.

    total: number of steps; done: steps finished before this process started (they do not count towards the speed).
    """

    def __init__(self, what: str, total: int, done: int = 0, every: float = 10.0) -> None:
        self.what, self.total, self.first, self.every = what, total, done, every
        self.started = self.last = time.monotonic()

    def report(self, done: int, detail: str = "") -> None:
        """Report that `done` steps are finished."""
        now = time.monotonic()
        if now - self.last < self.every and done < self.total:
            return
        self.last = now
        speed = (done - self.first) / max(now - self.started, 1e-9)
        left = (self.total - done) / max(speed, 1e-9)
        logging.info(
            "%s: step %d of %d (%.0f%%), %.1f steps/s, %s left%s",
            self.what,
            done,
            self.total,
            100 * done / self.total,
            speed,
            duration(left),
            f", {detail}" if detail else "",
        )


def duration(seconds: float) -> str:
    """Seconds in readable form: `42 s`, `7 min 05 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
