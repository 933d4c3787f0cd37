"""Keep what a preset found, and write the pages of the gallery: `make gallery CONFIG=presets/mnist.yaml`.

Without a configuration, every page is written again from what is kept. A page is a folder in docs/gallery, called as
the preset (`default` for config/config.yaml), with what a person wrote in `page.md.jinja` (`isthmus.overview.gallery`);
beside it are the claims, the rows that are quoted, its figures and its cost, and all tables if it links them. The
templates in docs/gallery itself are about several presets: docs/findings.md, and what the README says was found.
"""

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from PIL import Image

from isthmus.core.errors import DataError, UserError
from isthmus.core.files import write_whole
from isthmus.core.hardware import processor
from isthmus.overview.gallery import Found, Rows, across, kept_claims, page, verdicts_by_preset
from isthmus.tables.parquet import as_frame, read_table

ROOT = Path(__file__).resolve().parents[2]
GALLERY, FINDINGS, README = ROOT / "docs" / "gallery", ROOT / "docs" / "findings.md", ROOT / "README.md"
QUOTED = ("summaries", "effects", "correlations", "path_relations", "saturation")
ACROSS = ("findings.md.jinja", "found.md.jinja")
BEGIN, END = "<!-- written by `make gallery` -->\n", "<!-- end -->\n"
COLORS = 128  # of a kept figure


class Page:
    """The page of one preset. results: the folder of its results, or None to use what is kept."""

    def __init__(self, folder: Path, results: Path | None, commit: str = "") -> None:
        self.folder, self.results = folder, results
        if results is None:
            self.claims, kept = (pd.read_csv(folder / name) for name in ("claims.csv", "numbers.csv"))
            self.rows, self.cost = Rows({}, kept), json.loads((folder / "cost.json").read_text(encoding="utf-8"))
            return
        made = {name: results / "tables" / f"{name}.parquet" for name in QUOTED}
        tables = {name: as_frame(read_table(path)) for name, path in made.items() if path.exists()}
        self.claims = kept_claims(as_frame(read_table(results / "tables" / "claims.parquet")))
        self.rows, self.cost = Rows(tables), cost(results, commit)

    def write(self) -> None:
        """Write the page."""
        template = (self.folder / "page.md.jinja").read_text(encoding="utf-8")
        about = {"figure": self.figure, "tables": self.tables, "cost": cost_sentence(self.cost)}
        text = page(template, self.rows, self.claims, about)
        if self.results is not None:
            for picture in set(self.folder.glob("*.png")) - {self.folder / name for name in shown(text)}:
                picture.unlink()
        write_whole(self.folder / "README.md", lambda path: path.write_text(text, encoding="utf-8"))

    def keep(self) -> None:
        """Write the claims, the rows that were quoted so far, and the cost."""
        self.claims.to_csv(self.folder / "claims.csv", index=False)
        self.rows.frame().to_csv(self.folder / "numbers.csv", index=False)
        (self.folder / "cost.json").write_text(json.dumps(self.cost, indent=2) + "\n", encoding="utf-8")

    def figure(self, name: str, title: str) -> str:
        """A figure in Markdown, such as `digits/barriers`; kept with few colours, which these figures do not need."""
        kept = self.folder / f"{name.replace('/', '-')}.png"
        if self.results is not None:
            drawn = self.results / "figures" / f"{name}.png"
            if not drawn.exists():
                raise UserError(f"{self.folder.name}: the page shows {drawn}, which was not drawn")
            few_colors(Image.open(drawn)).save(kept, optimize=True)
        elif not kept.exists():
            raise UserError(f"{self.folder.name}: the page shows {kept.name}, which is not kept")
        return f"![{title}]({kept.name})"

    def tables(self) -> str:
        """A link to the description of all tables, which are kept if a page has it: for studies that take hours."""
        kept = self.folder / "tables"
        if self.results is not None:
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self.results / "tables", kept)
        elif not kept.exists():
            raise UserError(f"{self.folder.name}: the page has all tables, which are not kept")
        return f"[all tables]({kept.name}/datapackage.json)"


def few_colors(drawn: Image.Image) -> Image.Image:
    """A figure with few colours, which keeps those of small marks; median cut mixes these, and verdicts look alike."""
    return drawn.convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)


def cost(results: Path, commit: str) -> dict[str, Any]:
    """What the results took, from Snakemake's benchmark files, and where: this machine, which should have run it.

    Processor time is a little too low: Snakemake reads it every half second, and every 30 s in longer jobs.
    """
    measured = [csv.DictReader(path.open(), delimiter="\t") for path in results.rglob("benchmarks/**/*.tsv")]
    jobs = [row for rows in measured for row in rows]
    minutes = {name: sum(float(job[name]) for job in jobs if job[name] != "NA") / 60 for name in ("s", "cpu_time")}
    networks = as_frame(read_table(results / "tables" / "networks.parquet"))
    return {
        "networks": len(networks),
        "trained": sorted({f"{row.architecture}, {row.dataset}" for row in networks.itertuples()}),
        "jobs": len(jobs),
        "core_minutes": round(minutes["s"], 1),
        "processor_minutes": round(minutes["cpu_time"], 1),
        "processor": processor(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in ("torch", "snakemake")},
        "commit": commit,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def cost_sentence(known: dict[str, Any]) -> str:
    """The cost in a sentence; pages of early studies do not know the processor time."""
    jobs = f"{known['jobs']} jobs of {known['core_minutes']:g} minutes in all"
    jobs += f" ({known['processor_minutes']:g} of processor time)" if "processor_minutes" in known else ""
    machine = f"{known['cores']} cores of an {known['processor']} with PyTorch {known['versions']['torch']}"
    return f"{known['networks']} networks; {jobs}, on {machine} ({known['date']}, commit {known['commit']})"


def write_index() -> None:
    """Write the table of verdicts by preset into the gallery's own page, from the simplest networks and data on."""
    claims = yaml.safe_load((ROOT / "workflow" / "claims.yaml").read_text(encoding="utf-8"))["claims"]
    costs = {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in pages("cost.json")}
    simplest = sorted(costs, key=lambda folder: ([*map(trained_order, costs[folder]["trained"])], folder.name))
    statements = {claim["id"]: claim["statement"] for claim in claims}
    kept = {
        f"[{folder.name}]({folder.name}/README.md) ({'; '.join(costs[folder]['trained'])})": pd.read_csv(
            folder / "claims.csv"
        )
        for folder in simplest
    }
    write_between(GALLERY / "README.md", verdicts_by_preset(kept, statements))


def trained_order(trained: str) -> tuple[int, ...]:
    """Where a preset's networks and data, such as `cnn, MNIST`, belong among others; what is not known comes last."""
    network, _, data = trained.rpartition(", ")
    orders = (("digits", "MNIST", "CIFAR10"), data), (("mlp", "cnn", "resnet"), network)
    return tuple(order.index(own) if own in order else len(order) for order, own in orders)


def write_across(presets: dict[str, Page]) -> None:
    """Write what is said of several presets: docs/findings.md, and a paragraph of the README."""
    findings, readme = (said_across(presets, template) for template in ACROSS)
    write_whole(FINDINGS, lambda path: path.write_text(findings, encoding="utf-8"))
    write_between(README, readme)


def said_across(presets: dict[str, Page], template: str, only: str | None = None) -> str:
    """What a template says of these presets. only: look up what it quotes of this one, so that it is kept."""
    names: dict[str, Any] = {
        "networks": lambda preset: presets[preset].cost["networks"],
        "counts": lambda preset: counts(presets[preset]),
    }
    if only is not None:
        rows, nothing = presets[only].rows, Found(0.0, 0.0, 0.0, 0)
        names["found"] = lambda preset, table, **where: rows.found(table, **where) if preset == only else nothing
        names["verdict"] = names["measured"] = lambda *_, **which: nothing
    kept = {name: (preset.rows, preset.claims) for name, preset in presets.items()}
    return across((GALLERY / template).read_text(encoding="utf-8"), kept, names)


def counts(preset: Page) -> dict[str, int]:
    """How many claims got which verdict."""
    return preset.claims.loc[preset.claims["twin"].isna(), "direction"].value_counts().to_dict()


def write_between(file: Path, text: str) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    whole = f"{before}{BEGIN}\n{text.strip()}\n\n{END}{rest.partition(END)[2]}"
    write_whole(file, lambda path: path.write_text(whole, encoding="utf-8"))


def pages(name: str) -> list[Path]:
    """The files of one name of all pages."""
    return sorted(GALLERY.glob(f"*/{name}"))


def shown(text: str) -> list[str]:
    """The names of the figures on a page."""
    return re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--configfile", type=Path, help="as for snakemake; its results are kept")
    parser.add_argument("--directory", type=Path, default=Path(), help="as for snakemake")
    parser.add_argument("--commit", help="the one that made the results, if it is not checked out")
    given = parser.parse_args()
    try:
        presets = {path.parent.name: Page(path.parent, None) for path in pages("claims.csv")}
        if given.configfile:
            default = given.configfile.resolve() == ROOT / "config" / "config.yaml"
            folder = GALLERY / ("default" if default else given.configfile.stem)
            if not (folder / "page.md.jinja").exists():
                raise UserError(
                    f"write {folder / 'page.md.jinja'} first: what the preset asks and what its numbers say"
                )
            finished = Page(folder, given.directory / "results", given.commit or head())
            finished.write()
            presets[folder.name] = finished
            for template in ACROSS:
                said_across(presets, template, only=folder.name)
            finished.keep()
        else:
            for kept in presets.values():
                kept.write()
        write_index()
        write_across(presets)
    except (UserError, DataError) as error:
        sys.exit(str(error))


def head() -> str:
    """The commit that is checked out."""
    asked = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
