"""How long each job of a run should take, roughly, without measuring anything: what the console's bar is made of.

`make plan` times a few calls to turn counted work into hours, which takes seconds and imports torch. The console shows
its bar from the first moment, so it takes the same counts at a usual speed, and corrects them by the jobs that have
finished. The constants are those of the default study on two cores of a server.
"""

from collections.abc import Mapping
from types import SimpleNamespace

from isthmus.study.graph import Graph
from isthmus.study.jobs import Jobs
from isthmus.tables.descriptions import stages

START_UP = 3.0  # seconds until a job has imported what it needs
USUAL = 0.3  # of the time that counted work takes on a slow core
UNCOUNTED = {"figures": 10.0, "relations": 20.0}  # seconds of jobs whose work is not counted; others take one


def expected_seconds(graph: Graph, stage: str, wildcards: Mapping[str, str]) -> float:
    """Seconds that a job of a stage should take."""
    counted = "block" in wildcards and stage in stages()
    work = Jobs(graph, stage).work(SimpleNamespace(**wildcards)) if counted else None
    return START_UP + (UNCOUNTED.get(stage, 1.0) if work is None else USUAL * work.slow_seconds(likely=True))
