"""Print what a study will cost before submitting anything: `make plan`, or this with Snakemake's own arguments.

    python workflow/scripts/plan.py --configfile my-study.yaml [any other argument of Snakemake]

The jobs come from Snakemake's dry run with the same arguments, so finished work is not counted.
"""

import argparse
import contextlib
import io
import logging
import sys
import time
from pathlib import Path
from typing import Any

from snakemake import cli
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config
from snakemake_interface_logger_plugins.common import LogEvent

from isthmus.analyses.claims.statements import read_claims
from isthmus.core import devices
from isthmus.core.errors import ConfigurationError, UserError
from isthmus.planning import plan
from isthmus.study.config import load
from isthmus.study.graph import Graph

WORKFLOW = Path(__file__).resolve().parents[2]


class Jobs(logging.Filter):
    """Sees every record of Snakemake's log and keeps the jobs that a dry run reports (events of its logger plugins)."""

    def __init__(self) -> None:
        super().__init__()
        self.reported: set[int] = set()
        self.announced = 0
        self.found: list[plan.Job] = []

    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.announced = record.stats["total"]
        if event == LogEvent.JOB_INFO and record.jobid not in self.reported:
            self.reported.add(record.jobid)
            if record.log:  # rules that only collect targets have none
                self.found.append(_job(record))
        return True


def _job(record: Any) -> plan.Job:
    """A reported job. Its stage is the folder of its log, as it is of its results."""
    return plan.Job(
        stage=Path(record.log[0]).parts[2],
        wildcards={key: str(value) for key, value in (record.wildcards or {}).items()},
        mem_mb=int(record.resources.get("mem_mb", 0)),
        minutes=int(record.resources.get("runtime", 0)),
        gpu=int(record.resources.get("gpu", 0)),
        inputs=len(record.input),
        outputs=len(record.output) + len(record.log) + bool(record.benchmark),
    )


def jobs_to_do(arguments: list[str]) -> list[plan.Job]:
    """The jobs of Snakemake's dry run with these arguments. If it fails, raises UserError with what it printed."""
    jobs, said = Jobs(), io.StringIO()
    log = logging.getLogger("snakemake.logging")
    log.addFilter(jobs)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            cli.main(["--dry-run", "--snakefile", str(WORKFLOW / "workflow" / "Snakefile"), *arguments])
    except SystemExit as end:
        if end.code:
            raise UserError(said.getvalue()) from None
    finally:
        log.removeFilter(jobs)
    if len(jobs.reported) != jobs.announced:
        raise UserError(f"Snakemake announced {jobs.announced} jobs and reported {len(jobs.reported)}: no plan is made")
    return jobs.found


def graph_of(files: list[str], folder: Path) -> Graph:
    """The graph of the configuration, assembled as in the Snakefile. Raises ConfigurationError."""
    config: dict[str, Any] = {}
    for path in files:
        update_config(config, load_configfile(path))
    if "studies" not in config:
        places = (folder / "config" / "config.yaml", folder / "config.yaml", WORKFLOW / "config" / "config.yaml")
        default = str(next(filter(Path.exists, places)))
        base = load_configfile(default)
        update_config(base, config)
        config, files = base, [default]
    return Graph(load(config, files=files), read_claims())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--configfile", nargs="+", default=[], help="as for snakemake")
    parser.add_argument("--directory", type=Path, default=Path(), help="as for snakemake")
    own, others = parser.parse_known_args()
    given = ["--configfile", *own.configfile] if own.configfile else []
    arguments = [*given, "--directory", str(own.directory), *others]
    try:
        graph = graph_of(own.configfile, own.directory)
        jobs = jobs_to_do(arguments)
        device = devices.choose_device(graph.settings["device"])
    except (ConfigurationError, UserError) as error:
        sys.exit(str(error))
    if not jobs:
        print("nothing is left to be done")
        return
    devices.set_up(graph.settings["threads"], graph.settings["deterministic"])
    settings = devices.Settings(device, evaluation_batch_size=graph.settings["evaluation_batch_size"])
    started = time.monotonic()
    found = plan.plan(jobs, graph, settings)
    print(plan.report(found))
    print(f"\nspeeds measured on this machine ({device}) in {time.monotonic() - started:.0f} s;", end=" ")
    print("memory is what the largest job asks for; the effect of stopping rules is not foreseen")
    if not found["counted"].all():
        print("* no count of its work: the time its rule asks for")
    if device.type == "cpu" and found["gpu_seconds"].any():
        print(
            "the jobs ask for a GPU and there is none here: GPU hours are those of this CPU; plan on a node with a GPU"
        )


if __name__ == "__main__":
    main()
