"""Begin an analysis: copy the files of templates/analysis under another name. `make new-analysis NAME=...` runs this.

The template is a working analysis, `learning_coefficient`. Its folders are those of the repository, and its name stands
in the names of files, functions, rules and tables, with hyphens in that of its figure.
"""

import argparse
import keyword
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "templates" / "analysis"
TEMPLATE_NAME = "learning_coefficient"


def renamed(text: str, name: str) -> str:
    """A text of the template, or the path of a file in it, for the analysis `name`."""
    return text.replace(TEMPLATE_NAME, name).replace(TEMPLATE_NAME.replace("_", "-"), name.replace("_", "-"))


def files_of(name: str) -> dict[Path, str]:
    """The paths of the files of the analysis `name`, within the repository, and what is in them."""
    files = (path for path in sorted(TEMPLATE.rglob("*")) if path.suffix in (".py", ".rst", ".smk", ".yaml"))
    return {Path(renamed(str(path.relative_to(TEMPLATE)), name)): renamed(path.read_text(), name) for path in files}


def refused(name: str, files: dict[Path, str]) -> str | None:
    """Why there cannot be a new analysis of this name; None where there can."""
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        return f"{name!r} cannot be the name of an analysis: it takes lower-case letters, digits and underscores"
    present = next((path for path in files if (ROOT / path).exists()), None)
    return f"there is an analysis {name!r} already, as {present} exists" if present else None


def main() -> int:
    parser = argparse.ArgumentParser(description="Begin an analysis by copying the template under another name.")
    parser.add_argument("name", metavar="NAME", help="of the analysis: make new-analysis NAME=sparsity")
    name = parser.parse_args().name
    files = files_of(name)
    if reason := refused(name, files):
        print(reason, file=sys.stderr)
        return 1
    for path, content in files.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(content)
    print(f"The analysis {name} is made of", *files, sep="\n  ")
    print(f"It works, and still measures what the template measures. Try it: make check-analysis NAME={name}")
    print("Then make it yours, file by file: docs/adding-an-analysis.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
