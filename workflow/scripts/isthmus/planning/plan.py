"""What a study will cost, before any of it is paid: the jobs still to be done, their work at this machine's speed.

Which jobs those are is Snakemake's to say (`workflow/scripts/plan.py` asks it for a dry run); here they are values.
Work is counted in closed form (`isthmus.work`), speeds are measured on a few cells (`isthmus.planning.calibration`).
Stopping rules are not foreseen: a network that may end sooner is counted to its last epoch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod

from isthmus.core import devices
from isthmus.core.devices import Settings
from isthmus.data.facts import Facts
from isthmus.models.sizes import multiplications, parameters
from isthmus.planning.calibration import Probe, Speed, measure, measure_algebra, measure_jacobian, start_up
from isthmus.recipes.recipe import Recipe
from isthmus.study.config import Configuration
from isthmus.study.costs import cost_of
from isthmus.tables.descriptions import stages
from isthmus.training.cost import Calls, Work

ALGEBRA = ("algebra", "search")
ALGEBRA_SIZES = (16, 64, 256, 768)
POINTS = 5  # sizes of a kind of call, and of an architecture, that are timed
# Measured: what a job leaves beside weights for each file it writes (Parquet, log, benchmark, Snakemake's record).
BYTES_A_FILE = 20_000
# What jobs of a stage import before they do anything; all others, PyTorch.
IMPORTS = {
    "tables": "isthmus.tables.parquet",
    "figures": "isthmus.tables.parquet, pandas, matplotlib.pyplot, scipy.stats",
}
TORCH = "isthmus.training.trainer, isthmus.tables.parquet"
COLLECTED = 1e-3  # measured: seconds of a core for each file of a table
DRAWN, RELATED = 1.0, 1.0  # guesses: for the figures of a stage, and for what is computed from tables


@dataclass(frozen=True)
class Job:
    """A job that Snakemake would run: the stage it belongs to, what it works on, and what its rule asks for."""

    rule: str
    stage: str
    wildcards: Mapping[str, str]
    threads: int
    mem_mb: int
    minutes: int
    gpu: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Demand:
    """The work of a job, and where it applies. recipe: None where the stage has networks of its own."""

    recipe: Recipe | None
    known: Facts | None
    networks: int
    work: Work


@dataclass(frozen=True)
class Speeds:
    """Measured seconds: of a call by kind and architecture, of algebra, of a small Jacobian, of a process to start."""

    calls: Mapping[tuple[str, str], Speed]
    algebra: Speed
    jacobian: float
    starts: Mapping[str, float]

    def start(self, stage: str) -> float:
        """Seconds that a job of a stage takes to start."""
        return self.starts.get(stage, self.starts[""])


@dataclass(frozen=True)
class Cost:
    """What a stage costs. members: networks or pairs; seconds: of a core, or of a GPU where `gpu`; bytes: on disk."""

    stage: str
    jobs: int
    members: int
    seconds: float
    longest: float
    mem_mb: int
    bytes: float
    gpu: bool
    counted: bool


def demand_of(job: Job, configuration: Configuration) -> Demand | None:
    """The work of a job, None where nothing counts it: tables, figures, data, or an analysis that has no count."""
    stage, study = stages().get(job.stage), configuration.studies.get(job.wildcards.get("study", ""))
    if stage is None or study is None or "block" not in job.wildcards:
        return None
    options = study.analyses.get(stage.name, {})
    block = int(job.wildcards["block"])
    if stage.unit == "sweep":
        members = len(study.blocks_of(stage, configuration.jobs, job.wildcards["sweep"])[block])
        known = configuration.facts[next(iter(study.cells.values())).recipe.data.name]
        sweep, cost = options["sweeps"][job.wildcards["sweep"]], cost_of(stage.name)
        return Demand(None, None, members, cost.work(options, sweep, members, prod(known.shape))) if cost else None
    members = len(study.blocks_of(stage, configuration.jobs)[block])
    recipe = study.cells[job.wildcards["cell"]].recipe
    known, cost = configuration.facts[recipe.data.name], cost_of(stage.name)
    return Demand(recipe, known, members, cost.work(recipe, known, options, members)) if cost else None


def _stack(demand: Demand, call: Calls, wanted: int | str, settings: Settings) -> int:
    """How many networks share a call."""
    if demand.recipe is None or demand.known is None or not call.batch_size:
        return 1
    network, known = demand.recipe.network, demand.known
    size, most = parameters(network, known.shape, known.classes), max(1, call.networks)
    return devices.stack_size(wanted, network.convolutional, size, call.batch_size, settings.device, most)


def probes(demands: Iterable[Demand], wanted: int | str, settings: Settings) -> list[Probe]:
    """The calls to be timed: of each kind and architecture the smallest, a middle one and the largest."""
    found: dict[tuple[str, str], dict[float, Probe]] = {}
    for demand in demands:
        if demand.recipe is None or demand.known is None:
            continue
        forward = multiplications(demand.recipe.network, demand.known.shape, demand.known.classes)
        for call in demand.work.calls:
            if call.kind in ALGEBRA or not call.count or not call.networks:
                continue
            stack = _stack(demand, call, wanted, settings)
            probe = Probe(call.kind, demand.recipe, demand.known, stack, max(1, round(call.size / forward)))
            found.setdefault((call.kind, demand.recipe.network.architecture), {})[probe.size] = probe
    chosen = []
    for sizes in found.values():
        ordered = [sizes[size] for size in sorted(sizes)]
        places = {round(place * (len(ordered) - 1) / (POINTS - 1)) for place in range(POINTS)}
        chosen += [ordered[place] for place in sorted(places)]
    return chosen


def calibrate(demands: Sequence[Demand], wanted: int | str, settings: Settings) -> Speeds:
    """Measure this machine at what the demands call for."""
    measured: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for probe in probes(demands, wanted, settings):
        key = (probe.kind, probe.recipe.network.architecture)
        measured.setdefault(key, []).append((probe.size, measure(probe, settings)))
    algebra = Speed.of([measure_algebra(settings.device, size) for size in ALGEBRA_SIZES])
    calls = {key: Speed.of(pairs) for key, pairs in measured.items()}
    jacobian = measure_jacobian(settings.device)
    return Speeds(
        calls, algebra, jacobian, {stage: start_up(modules) for stage, modules in ({"": TORCH} | IMPORTS).items()}
    )


def seconds_of(demand: Demand, speeds: Speeds, wanted: int | str, settings: Settings) -> float:
    """Seconds that the work takes at these speeds, start-up left out."""
    total = demand.work.seconds
    for call in demand.work.calls:
        if not call.count or not call.networks:
            continue
        if demand.recipe is None or call.kind in ALGEBRA:
            once = speeds.algebra(call.size) + (speeds.jacobian if call.kind == "search" else 0.0)
            total += call.likely * call.count * call.networks * once
            continue
        speed = speeds.calls[call.kind, demand.recipe.network.architecture]
        full, rest = divmod(call.networks, stack := _stack(demand, call, wanted, settings))
        once = full * speed(stack * call.size) + (speed(rest * call.size) if rest else 0.0)
        total += call.likely * call.count * once
    return total


def bytes_of(job: Job, demand: Demand | None, configuration: Configuration) -> float:
    """Bytes that a job leaves on the disk until the study is finished, checkpoints included."""
    kept = float(BYTES_A_FILE * job.outputs)
    if job.stage == "data" and job.wildcards.get("dataset") in configuration.facts:
        known = configuration.facts[job.wildcards["dataset"]]
        kept += (known.train_size + known.test_size) * (prod(known.shape) + 8)
    leaves = getattr(cost_of(job.stage), "disk_bytes", None)
    if leaves and demand is not None:
        options = configuration.studies[job.wildcards["study"]].analyses.get(job.stage, {})
        kept += leaves(demand.recipe, demand.known, options, demand.networks)
    return kept


def job_seconds(
    job: Job, demand: Demand | None, speeds: Speeds, wanted: int | str, settings: Settings
) -> tuple[float, bool]:
    """Seconds of a core, or of a GPU, that a job takes, and whether its work was counted."""
    started = speeds.start(job.stage)
    if demand is not None:
        return started + seconds_of(demand, speeds, wanted, settings), True
    if job.stage == "tables":
        return started + COLLECTED * job.inputs, True
    if job.stage in ("figures", "data"):
        return started + DRAWN, True
    if job.stage in stages() and stages()[job.stage].unit in ("study", "configuration"):
        return started + RELATED, True
    return 60.0 * job.minutes, False  # what its rule asks for


def plan(jobs: Sequence[Job], configuration: Configuration, settings: Settings) -> list[Cost]:
    """What the jobs cost, stage by stage in the order of the workflow, after a calibration of some seconds."""
    wanted = configuration.jobs["stack"]
    pairs = [(job, demand_of(job, configuration)) for job in jobs]
    speeds = calibrate([demand for _, demand in pairs if demand is not None], wanted, settings)
    by_stage: dict[str, list[tuple[Job, Demand | None]]] = {}
    for job, demand in pairs:
        by_stage.setdefault(job.stage, []).append((job, demand))
    order = ["data", *stages(), "tables", "figures"]
    found = []
    for stage in sorted(by_stage, key=lambda name: order.index(name) if name in order else len(order)):
        members = by_stage[stage]
        spent = [job_seconds(job, demand, speeds, wanted, settings) for job, demand in members]
        found.append(
            Cost(
                stage,
                len(members),
                sum(demand.networks for _, demand in members if demand is not None),
                sum(seconds for seconds, _ in spent),
                max(seconds for seconds, _ in spent),
                max(job.mem_mb for job, _ in members),
                sum(bytes_of(job, demand, configuration) for job, demand in members),
                any(job.gpu for job, _ in members),
                all(counted for _, counted in spent),
            )
        )
    return found


def report(costs_found: Sequence[Cost]) -> str:
    """The costs as a table in text."""
    head = ("stage", "jobs", "networks", "core hours", "GPU hours", "longest job", "memory", "disk")
    lines = [head]
    for cost in [*costs_found, _total(costs_found)]:
        hours = f"{cost.seconds / 3600:.3g}" + ("" if cost.counted else " *")
        core, gpu = ("", hours) if cost.gpu else (hours, "")
        if cost.stage == "in all":
            core, gpu = (f"{sum(c.seconds for c in costs_found if c.gpu == side) / 3600:.3g}" for side in (False, True))
        longest = f"{ceil(cost.longest)} s" if cost.longest < 120 else f"{cost.longest / 60:.0f} min"
        members = str(cost.members or "")
        disk = f"{cost.bytes / 1e6:.0f} MB" if cost.bytes < 1e9 else f"{cost.bytes / 1e9:.1f} GB"
        lines.append((cost.stage, str(cost.jobs), members, core, gpu, longest, f"{cost.mem_mb} MB", disk))
    if not any(cost.gpu for cost in costs_found):
        lines = [line[:4] + line[5:] for line in lines]  # type: ignore[misc]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = []
    for line in lines:
        aligned = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text.append("  ".join([line[0].ljust(widths[0]), *aligned]).rstrip())
    return "\n".join(text)


def _total(found: Sequence[Cost]) -> Cost:
    return Cost(
        "in all",
        sum(cost.jobs for cost in found),
        0,
        sum(cost.seconds for cost in found),
        max((cost.longest for cost in found), default=0.0),
        max((cost.mem_mb for cost in found), default=0),
        sum(cost.bytes for cost in found),
        False,
        all(cost.counted for cost in found),
    )
