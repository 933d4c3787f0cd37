"""Times several ways of doing one thing in turn, so that a noisy machine disturbs all of them alike."""

import statistics
import time
from collections.abc import Callable


def medians(sides: dict[str, Callable[[], object]], repetitions: int = 5) -> dict[str, float]:
    """Median seconds of each side over `repetitions` rounds, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for repetition in range(repetitions + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            if repetition:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}
