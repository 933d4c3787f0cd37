# Shared by all rules: the graph of the checked configuration, and code that needs Snakemake's own objects.

import os
import shutil
import sys

# Import the library next to this workflow, here and in jobs, even if another copy is installed.
SCRIPTS = str(HERE / "scripts")
sys.path.insert(0, SCRIPTS)
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [SCRIPTS, os.environ.get("PYTHONPATH")])))

from isthmus.analyses.claims.statements import read_claims
from isthmus.core.errors import UserError
from isthmus.core.files import require_room
from isthmus.core.hardware import has_gpu
from isthmus.core.occupancy import take_note
from isthmus.study.config import load
from isthmus.study.expected import expected_seconds
from isthmus.study.figure_files import figure_tables, figures_of, in_report, kinds, overall_stages
from isthmus.study.graph import DATA_PACKAGE, Graph, code
from isthmus.study.jobs import Jobs
from isthmus.study.overview import described_claims, described_studies, overview_figures, overview_tables
from isthmus.tables.descriptions import stages

try:
    for folder in filter(Path.exists, (Path(), Path("results"))):
        require_room(folder)
    graph = Graph(load(config, files=workflow.configfiles), read_claims())
except UserError as error:
    raise WorkflowError(str(error)) from None

drawing = graph.drawing

for notice in graph.configuration.notices:
    print(notice, file=sys.stderr)

# Scripts read these from `snakemake.config`, not from parameters, so that nothing reruns when a change only affects how
# jobs are packed or where data sets are found.
config["jobs"] = graph.settings
config["datasets"] = graph.configuration.datasets

if graph.settings["container"]:

    container: graph.settings["container"]


wildcard_constraints:
    study="[A-Za-z][A-Za-z0-9_-]*",
    cell="[^/]+",
    sweep="[A-Za-z][A-Za-z0-9_-]*",
    block="[0-9]+",
    stage="[a-z][a-z0-9_]*",
    dataset="[A-Za-z][A-Za-z0-9_-]*",
    table="|".join(made.name for stage in stages().values() if stage.unit != "configuration" for made in stage.tables),


def figure_files(stage, *requires):
    """The files of the figures of a stage that draw tables of exactly these other analyses; PNG and CSV are in the report."""
    folder = "" if stages()[stage] in overall_stages() else "{study}/"
    return [
        file
        for figure in figures_of(stage, *requires)
        for kind in kinds(figure)
        for path in [f"results/figures/{folder}{figure.name}.{kind}"]
        for file in [path if kind == "pdf" else report(path, **in_report(figure, kind))]
    ]


def announce(jobs):
    """Tell the console how long jobs should take: by number, the rule and the seconds of each that does anything."""
    expected = {
        job.jobid: (job.rule.name, expected_seconds(graph, Path(job.log[0]).parts[2], job.wildcards_dict))
        for job in jobs
        if job.log
    }
    logger.info(None, extra={"expected_seconds": expected})
