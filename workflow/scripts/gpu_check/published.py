"""The statements A2, A3, A4, A6 and A7 on CIFAR-10, as published: studies of presets/implicit-regularization.yaml.

A study that runs out of time goes on from its own checkpoints when the check is called again.
"""

from typing import Any

from gpu_check.case import Case, Measured, Options, Skipped
from gpu_check.needs import ROOT
from gpu_check.snakemake_runs import Configuration, on_device, snakemake
from isthmus.core.files import read_yaml

STUDIES = {"widths": ("A7",), "batches": ("A2", "A3", "A6"), "tickets": ("A4",)}
SHARING = 3
EVALUATION_BATCH = 4096
TABLE = "results/tables/claims.parquet"


def cases(options: Options) -> list[Case]:
    """A study each, the cheapest first."""
    return [
        Case(f"{name}: {', '.join(claims)}", lambda seconds, name=name: tested(name, options, seconds))
        for name, claims in STUDIES.items()
    ]


def tested(name: str, options: Options, seconds: float) -> Measured:
    """Run a study to its end, and read the verdicts of its statements."""
    from isthmus.tables.parquet import read_table

    folder = options.folder / "published" / name
    run = snakemake(folder, configuration(name, options), seconds, SHARING, TABLE)
    measured: dict[str, Any] = {"jobs": run.jobs, "workflow_s": run.seconds}
    for row in read_table(folder / TABLE).to_pylist():
        if row["claim"].startswith(STUDIES[name]):
            key = row["claim"] + (f" {row['twin']}" if row["twin"] else "")
            value = "" if row["value"] is None else f"{row['value']:.4g}, "
            measured[key] = f"{value}{row['direction']}"
    return measured


def configuration(name: str, options: Options) -> Configuration:
    """One study of the preset, on the device. Raises Skipped without CIFAR-10."""
    preset = read_yaml(ROOT / "presets" / "implicit-regularization.yaml")
    study, datasets = preset["studies"][name], {}
    if options.smallest:
        study = smallest(study)
    elif options.data is None or not (options.data / "cifar-10-batches-py").is_dir():
        raise Skipped("CIFAR-10 is not here; --data names the folder that has cifar-10-batches-py")
    else:
        datasets = {"datasets": {"CIFAR10": {"root": str(options.data), "download": False}}}
    config = datasets | {"studies": {name: study}, "jobs": preset["jobs"] | {"seeds": 3}}
    return on_device(options, config, evaluation_batch_size=EVALUATION_BATCH)


def smallest(study: Configuration) -> Configuration:
    """The same study of digits, with one epoch of two networks in each cell."""
    training = study["training"] | {"epochs": 1}
    grid = study["grid"] | {"width": [2], "seed": 2}
    if len(grid["batch_size"]) > 1:
        grid["batch_size"] = [32, 1024]
        training["learning_rate"] = {size: study["training"]["learning_rate"][size] for size in grid["batch_size"]}
    analyses = {name: dict(given) for name, given in study.get("analyses", {}).items()}
    if "curvature" in analyses:
        analyses["curvature"] |= {"images": 20, "noise": analyses["curvature"]["noise"] | {"images": 50, "draws": 2}}
    if "tickets" in analyses:
        analyses["tickets"] |= {"levels": 1, "evaluation_examples": 50}
    data = {"data": {"name": "digits", "train_size": 1400}}
    return study | data | {"training": training, "grid": grid, "analyses": analyses}
