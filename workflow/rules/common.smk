# What the rules share: the checked configuration, and functions for inputs, parameters and resources.

import functools
import itertools
import os
import shutil
import sys
from dataclasses import asdict

# The library beside this workflow, here and in the jobs, whatever else may be installed under its name.
SCRIPTS = str(Path(workflow.basedir, "workflow", "scripts"))
sys.path.insert(0, SCRIPTS)
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [SCRIPTS, os.environ.get("PYTHONPATH")])))

from isthmus.analyses.claims.statements import parse_claims, read_claims
from isthmus.study.config import load
from isthmus.core.digest import digest
from isthmus.core.errors import ConfigurationError
from isthmus.study.costs import cost_of
from isthmus.tables.descriptions import stages, table
from isthmus.tables.quantities import quantities
from isthmus.training.cost import run_time as asked_time

try:
    CONFIG, CLAIMS = load(config), read_claims()
    CLAIMED = parse_claims(CLAIMS)
except ConfigurationError as error:
    raise WorkflowError(str(error)) from None

# Scripts read `snakemake.config["jobs"]`: how a job is packed is no parameter, and changing it reruns nothing.
# Nor is the folder a data set is found in: moving it changes nothing.
config["jobs"] = CONFIG.jobs
config["datasets"] = CONFIG.datasets

if CONFIG.jobs["container"]:

    container: CONFIG.jobs["container"]


# A profile counts the GPUs of a workstation, each of which several jobs may share. A cluster has them by the job.
gpus = workflow.global_resources.get("gpu").value
if workflow.local_exec and gpus:
    workflow.register_resource("gpu", gpus * CONFIG.jobs["per_gpu"])


wildcard_constraints:
    study="[A-Za-z][A-Za-z0-9_-]*",
    cell="[^/]+",
    sweep="[A-Za-z][A-Za-z0-9_-]*",
    block="[0-9]+",
    dataset="[A-Za-z][A-Za-z0-9_-]*",
    table="|".join(made.name for stage in stages().values() if stage.unit != "configuration" for made in stage.tables),


def code(script):
    """The digest of the library code behind a script, the parameter that reruns its jobs when that code changes."""
    return digest(Path(SCRIPTS, script), plumbing=script == "collect_table.py")


def cell_of(wildcards):
    return CONFIG.studies[wildcards.study].cells[wildcards.cell]


def recipe_of(wildcards):
    return cell_of(wildcards).recipe.as_dict()


def options_of(analysis):
    """A function for the options of an analysis in a study."""
    return lambda wildcards: CONFIG.studies[wildcards.study].analyses[analysis]


@functools.cache
def blocks_of(study, stage, sweep=""):
    """The members of the blocks of a stage, by index: asked for by every job, found once."""
    return CONFIG.studies[study].blocks_of(stages()[stage], CONFIG.jobs, sweep)


def seeds_of(wildcards):
    """The seeds of a block."""
    return list(blocks_of(wildcards.study, "train")[int(wildcards.block)])


def pairs_of(analysis):
    """A function for the pairs of seeds of a block of an analysis."""
    return lambda wildcards: [list(pair) for pair in blocks_of(wildcards.study, analysis)[int(wildcards.block)]]


def sweep_of(analysis):
    """A function for the sweep, of an analysis that has its own, that a job works on."""
    return lambda wildcards: CONFIG.studies[wildcards.study].analyses[analysis]["sweeps"][wildcards.sweep]


def sweep_axes_of(analysis):
    """A function for what its networks are, less the numbers of seeds: new seeds run no block again that lacks none."""
    sweep = sweep_of(analysis)
    return lambda wildcards: {key: value for key, value in sweep(wildcards).items() if key not in ("seeds", "together")}


def sweep_seeds_of(analysis):
    """A function for the seeds of a block of a sweep."""
    return lambda wildcards: list(blocks_of(wildcards.study, analysis, wildcards.sweep)[int(wildcards.block)])


def sweep_options_of(analysis):
    """A function for the options of an analysis less its sweeps: a new sweep runs no other one again."""
    options = options_of(analysis)
    return lambda wildcards: {key: value for key, value in options(wildcards).items() if key != "sweeps"}


def sweep_data_of(analysis):
    """A function for the data set of a study, where a sweep asks for its images."""
    sweep = sweep_of(analysis)
    return lambda wildcards: (
        f"results/data/{next(iter(CONFIG.studies[wildcards.study].cells.values())).recipe.data.name}.safetensors"
        if "images" in sweep(wildcards)["data"]
        else []
    )


def first_pair_of(analysis):
    """A function for the first pair of a cell that an analysis works on."""
    return lambda wildcards: list(next(iter(blocks_of(wildcards.study, analysis).values()))[0])


def networks_of(analysis, suffix):
    """A function for the files of training, by their ending, that hold the networks of a block of pairs."""
    pairs = pairs_of(analysis)
    return lambda wildcards: [
        f"results/{wildcards.study}/train/{wildcards.cell}/{block}.{suffix}"
        for block in sorted({seed // CONFIG.jobs["seeds"] for pair in pairs(wildcards) for seed in pair})
    ]


def facts_of(wildcards):
    name = cell_of(wildcards).recipe.data.name
    return CONFIG.facts[name]


def data_of(wildcards):
    return f"results/data/{cell_of(wildcards).recipe.data.name}.safetensors"


def shifted_data_of(analysis):
    """A function for the file of the second data set that an analysis tests on: of none where none is asked for."""
    options = options_of(analysis)
    return lambda wildcards: [
        f"results/data/{name}.safetensors" for name in [options(wildcards)["shifted_data"]] if name
    ]


def sources_of(wildcards):
    """Files that a data set is prepared from, where they are known beforehand."""
    described = CONFIG.datasets[wildcards.dataset]
    sources = [described.get("train", []), described.get("test", [])]
    paths = [path for source in sources for path in ([source] if isinstance(source, str) else source)]
    return [os.path.expanduser(path) for path in paths]


def content_of(wildcards):
    """What the content of a data set depends on: its description, less the places where it may be found."""
    described = CONFIG.datasets[wildcards.dataset]
    return {key: value for key, value in described.items() if key not in ("root", "download")}


def wanted_stages(study):
    """Stages of a study: training, and the analyses it asks for."""
    return [stage for stage in stages().values() if stage.name == "train" or stage.name in study.analyses]


def table_parts(wildcards):
    """All parts of a table, in the order of studies, cells and blocks."""
    stage = stages()[table(wildcards.table).stage]
    return [
        f"results/{study.name}/{stage.name}/{cell}/{block}.{wildcards.table}.parquet"
        for study in CONFIG.studies.values()
        if stage in wanted_stages(study)
        for cell in study.cells_of(stage.name)
        for block in blocks_of(study.name, stage.name, cell if stage.unit == "sweep" else "")
    ]


def overall_stages():
    """Stages that work on the tables of all studies, once; they always run."""
    return [stage for stage in stages().values() if stage.unit == "configuration"]


def collected_tables():
    """Names of the tables that are collected from the studies."""
    wanted = {
        made.name: None for study in CONFIG.studies.values() for stage in wanted_stages(study) for made in stage.tables
    }
    return list(wanted)


def claimed_tables():
    """The collected tables that claims are about, as far as the studies make them."""
    wanted = {"networks", *(claim.table for claim in CLAIMED)}
    return [f"results/tables/{name}.parquet" for name in collected_tables() if name in wanted]


def all_tables():
    names = [*collected_tables(), *(made.name for stage in overall_stages() for made in stage.tables)]
    return [f"results/tables/{name}.parquet" for name in names]


def all_figures():
    overall = [
        f"results/figures/{figure.name}.{kind}"
        for stage in overall_stages()
        for figure in stage.figures
        for kind in ("pdf", "png")
    ]
    return overall + [
        f"results/figures/{study.name}/{figure.name}.{kind}"
        for study in CONFIG.studies.values()
        for stage in wanted_stages(study)
        for figure in stage.figures
        if all(other in study.analyses for other in figure.requires)
        for kind in ("pdf", "png")
    ]


def tables_of_networks(wildcards):
    """The collected tables of networks and of their pairs that a study asks for: what an analysis of all of it reads."""
    return [
        f"results/tables/{made.name}.parquet"
        for stage in wanted_stages(CONFIG.studies[wildcards.study])
        if stage.unit in ("seed", "pair")
        for made in stage.tables
    ]


def quantities_of(wildcards):
    """The quantities that the tables of a study's networks may hold: another wording or value reruns what uses them."""
    made = {Path(path).stem for path in tables_of_networks(wildcards)}
    return [asdict(quantity) for quantity in quantities() if quantity.table in made]


def figures_of(stage, requires):
    """The figures of a stage that take no other analysis, or exactly those in `requires`."""
    return [figure for figure in stages()[stage].figures if figure.requires == requires]


def figure_tables(stage, *requires):
    """The tables that the figures of a stage are drawn from; those that take other analyses have a rule of their own."""
    return [
        f"results/tables/{name}.parquet"
        for name in {name: None for figure in figures_of(stage, requires) for name in figure.tables}
    ]


def figure_files(stage, *requires):
    """The files of these figures: PDF for papers, PNG, with its caption, for the report.

    The report sorts its categories by name: the number puts what covers all studies first.
    """
    overall = stages()[stage] in overall_stages()
    folder, labels = ("", {}) if overall else ("{study}/", {"study": "{study}"})
    category = f"1. {stages()[stage].title}" if overall else stages()[stage].title
    files = []
    for figure in figures_of(stage, requires):
        path = f"results/figures/{folder}{figure.name}"
        described = {"caption": f"../report/{figure.name}.rst", "labels": labels | {"figure": figure.title}}
        files += [f"{path}.pdf", report(f"{path}.png", category=category, **described)]
    return files


def full_blocks(study, stage):
    """Blocks that no further seed can change: they have all their members, and so have the blocks of their networks.

    A sweep has no such blocks, as it grows along its other axes too: what it has measured is kept. Nor has a whole
    study.
    """
    if stage.unit in ("sweep", "study"):
        return set()
    members = blocks_of(study.name, stage.name)
    full = {block: held for block, held in members.items() if len(held) == CONFIG.jobs[f"{stage.unit}s"]}
    if stage.unit == "seed":
        return set(full)
    trained = full_blocks(study, stages()["train"])
    return {
        block
        for block, pairs in full.items()
        if {seed // CONFIG.jobs["seeds"] for pair in pairs for seed in pair} <= trained
    }


def forget_finished_work():
    """Remove the checkpoints of blocks that are full. Others keep what they have for when they grow."""
    for study in CONFIG.studies.values():
        for stage in wanted_stages(study):
            for cell, block in itertools.product(study.cells_of(stage.name), full_blocks(study, stage)):
                place = f"{study.name}/{stage.name}/{cell}"
                checkpoints = Path("results/checkpoints", place, str(block))
                if checkpoints.exists() and any(Path("results", place).glob(f"{block}.*")):
                    shutil.rmtree(checkpoints)


def run_time(minutes, attempt):
    return asked_time(minutes, attempt, CONFIG.jobs["longest_minutes"])


def minutes_of(stage, members):
    """A function for the minutes of a job, from its work as the stage's cost counts it; `members` gives its block."""

    def minutes(wildcards, attempt):
        options = CONFIG.studies[wildcards.study].analyses.get(stage, {})
        counted = cost_of(stage).work(cell_of(wildcards).recipe, facts_of(wildcards), options, len(members(wildcards)))
        return run_time(counted.minutes(), attempt)

    return minutes


def mb_of(stage, members):
    """A function for the memory of a job, in MB, as the stage's cost guesses it."""
    size = CONFIG.jobs["evaluation_batch_size"]

    def memory(wildcards, attempt):
        options = CONFIG.studies[wildcards.study].analyses.get(stage, {})
        guess = cost_of(stage).memory_mb
        return attempt * guess(cell_of(wildcards).recipe, facts_of(wildcards), options, len(members(wildcards)), size)

    return memory


def sweep_mb_of(analysis):
    """A function for the memory of a job of a sweep, in MB, as its cost guesses it."""
    options, sweep, seeds = options_of(analysis), sweep_of(analysis), sweep_seeds_of(analysis)
    return lambda wildcards, attempt: attempt * cost_of(analysis).memory_mb(
        options(wildcards), sweep(wildcards), len(seeds(wildcards))
    )


def sweep_minutes_of(analysis):
    """A function for the minutes of a job of a sweep, from its work as its cost counts it."""
    options, sweep, seeds = options_of(analysis), sweep_of(analysis), sweep_seeds_of(analysis)
    return lambda wildcards, attempt: run_time(
        cost_of(analysis).work(options(wildcards), sweep(wildcards), len(seeds(wildcards))).minutes(), attempt
    )
