"""What a study will cost: an estimate for the jobs still to be done, at the speed of this machine.

The jobs come from a dry run of Snakemake (`workflow/scripts/plan.py`). The modules `cost` count their work in closed
form, and `isthmus.planning.calibration` measures speeds on a few calls. Stopping rules cannot be foreseen, so every
network is counted to its last epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from types import SimpleNamespace

import pandas as pd

from isthmus.core.devices import Settings
from isthmus.planning.calibration import Task, calibrate, start_up
from isthmus.study.graph import Graph
from isthmus.study.jobs import Jobs
from isthmus.tables.descriptions import stages

# Measured: bytes per file that a job writes, without weights (Parquet, log, benchmark, Snakemake's record).
BYTES_A_FILE = 20_000
# What jobs import before they do anything: those that compute with networks, collect tables, and draw figures.
TORCH = "isthmus.training.trainer, isthmus.tables.parquet"
IMPORTS = {
    "tables": "isthmus.tables.parquet",
    "figures": "isthmus.tables.parquet, pandas, matplotlib.pyplot, scipy.stats",
}
COLLECTED = 1e-3  # measured: core seconds for each file of a table
WITHOUT_NETWORKS = 1.0  # a guess: seconds for the figures of a stage, for a data set, and for tables made from tables
TOTAL = "in all"


@dataclass(frozen=True)
class Job:
    """A job that Snakemake would run: its stage, its wildcards, the resources it requests, and its numbers of files."""

    stage: str
    wildcards: Mapping[str, str]
    mem_mb: int
    minutes: int
    gpu: int
    inputs: int
    outputs: int


def task_of(job: Job, graph: Graph) -> Task | None:
    """The work of a job; None for tables, figures and data, and for an analysis without a module `cost`."""
    if "block" not in job.wildcards or job.stage not in stages():
        return None
    jobs, wildcards = Jobs(graph, job.stage), SimpleNamespace(**job.wildcards)
    work = jobs.work(wildcards)
    if work is None:
        return None
    return Task(work, jobs.cell_recipe(wildcards), jobs.facts(wildcards), len(jobs.members(wildcards)))


def plan(jobs: Sequence[Job], graph: Graph, settings: Settings) -> pd.DataFrame:
    """The cost of the jobs, after some seconds of calibration: a row per stage, in workflow order, and a total.

    Columns: jobs, networks (or pairs), core_seconds, gpu_seconds, longest (seconds of a job), mem_mb (of the largest
    job), bytes (on disk), and `counted`, which is false if the time that some jobs request stands in for their work.
    """
    stack = graph.settings["stack"]
    tasks = [task_of(job, graph) for job in jobs]
    speeds = calibrate([task for task in tasks if task], stack, settings, graph.settings["layout"])
    starts = {stage: start_up(modules) for stage, modules in ({"": TORCH} | IMPORTS).items()}
    rows = []
    for job, task in zip(jobs, tasks, strict=True):
        spent = task.seconds(speeds, stack, settings) if task else _uncounted(job)
        seconds = 60.0 * job.minutes if spent is None else spent + starts.get(job.stage, starts[""])
        rows.append(
            {
                "stage": job.stage,
                "networks": task.networks if task else 0,
                "core_seconds": 0.0 if job.gpu else seconds,
                "gpu_seconds": seconds if job.gpu else 0.0,
                "longest": seconds,
                "mem_mb": job.mem_mb,
                "bytes": bytes_of(job, task, graph),
                "counted": spent is not None,
            }
        )
    order = ["data", *stages(), "tables", "figures"]
    rows.sort(key=lambda row: order.index(row["stage"]) if row["stage"] in order else len(order))
    each = pd.DataFrame(rows)
    both = pd.concat([each, each.assign(stage=TOTAL, networks=0)])
    sums = dict.fromkeys(("networks", "core_seconds", "gpu_seconds", "bytes"), "sum")
    stages_of = both.groupby("stage", sort=False)
    found = stages_of.agg(sums | {"longest": "max", "mem_mb": "max", "counted": "all"})
    return found.assign(jobs=stages_of.size())


def _uncounted(job: Job) -> float | None:
    """Seconds of a job without networks, not counting start-up; None if nothing is known about it."""
    if job.stage == "tables":
        return COLLECTED * job.inputs
    stage = stages().get(job.stage)
    of_tables = stage is not None and stage.unit in ("study", "configuration")
    return WITHOUT_NETWORKS if of_tables or job.stage in ("data", "figures") else None


def bytes_of(job: Job, task: Task | None, graph: Graph) -> float:
    """Bytes that a job leaves on disk until the study is finished, including checkpoints."""
    kept = float(BYTES_A_FILE * job.outputs)
    facts = graph.configuration.facts.get(job.wildcards.get("dataset", ""))
    if facts:
        kept += (facts.train_size + facts.test_size) * (prod(facts.shape) * facts.value_bytes + 8)
    if task:
        kept += Jobs(graph, job.stage).disk_bytes(SimpleNamespace(**job.wildcards))
    return kept


def report(found: pd.DataFrame) -> str:
    """The costs as a text table, in hours and in the most readable units."""
    starred = ["" if counted else " *" for counted in found["counted"]]
    shown = pd.DataFrame({"jobs": found["jobs"], "networks": [str(number or "") for number in found["networks"]]})
    for kind in ("core", "gpu"):
        if (seconds := found[f"{kind}_seconds"]).any() or kind == "core":
            name = {"core": "core hours", "gpu": "GPU hours"}[kind]
            shown[name] = [f"{s / 3600:.3g}{star}" if s else "" for s, star in zip(seconds, starred, strict=True)]
    shown["longest job"] = [f"{ceil(s)} s" if s < 120 else f"{s / 60:.0f} min" for s in found["longest"]]
    shown["memory"] = [f"{mb} MB" for mb in found["mem_mb"]]
    shown["disk"] = [f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB" for size in found["bytes"]]
    return shown.rename_axis(columns="stage").rename_axis(index=None).to_string()
