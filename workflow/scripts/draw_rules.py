"""Write docs/rules.md, how the rules follow one another: part of `make docs`. The graph is Snakemake's own."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "workflow" / "rules"
PAGE = ROOT / "docs" / "rules.md"
TARGETS = {"all", "default", "figures", "tables"}  # rules that only collect others
ABOUT = """<!-- Generated from the workflow by `make docs`; edit workflow/rules, not this page. -->

# Rules

This graph shows the rules of the default study, from the data set on the left to the overview on the right. An arrow is
left out if a longer way leads to the same rule. `collect_table` makes every table. A dotted arrow leads back to it from
a rule that computes a table from other tables.
"""


def rule_graph() -> set[tuple[str, str]]:
    """Pairs of rules of which the second needs files of the first, as Snakemake reports them for the default study."""
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", empty]
        done = subprocess.run([*command, "--rulegraph", "mermaid-js"], stdout=subprocess.PIPE, text=True, check=True)
    names = dict(re.findall(r"^\t(id\d+)\[(\w+)\]$", done.stdout, re.MULTILINE))
    pairs = re.findall(r"^\t(id\d+) --> (id\d+)$", done.stdout, re.MULTILINE)
    edges = {(names[first], names[second]) for first, second in pairs}
    return {edge for edge in edges if not TARGETS & set(edge)}


def without_short_cuts(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The edges of a graph without circles that no longer way replaces.

    >>> sorted(without_short_cuts({("a", "b"), ("b", "c"), ("a", "c")}))
    [('a', 'b'), ('b', 'c')]
    """

    def reached(start: str) -> set[str]:
        following = {second for first, second in edges if first == start}
        return following.union(*map(reached, following))

    shorter = {(start, end) for start, other in edges for end in reached(other)}
    return edges - shorter


def described() -> list[tuple[str, str, str]]:
    """Every rule with its file, and its message without what varies from job to job."""
    found = []
    for file in sorted(RULES.glob("*.smk")):
        for rule in re.split(r"^(?=(?:use )?rule )", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name = re.findall(r"^(?:use rule \w+ as |rule )(\w+)", rule)[0]
            message = re.search(r'message:\s+"([^"]*)"', rule)
            words = re.sub(r"(?: of| in|:)? *\{[^}]*\}.*", "", message[1]) if message else "Drawing the figures"
            if name not in TARGETS:
                found.append((name, file.name, words))
    return found


def page() -> str:
    """The page in Markdown."""
    edges = rule_graph()
    back = {(first, second) for first, second in edges if (second, first) in edges and second == "collect_table"}
    drawn = [(first, "-->", second) for first, second in without_short_cuts(edges - back)]
    drawn += [(first, "-.->", second) for first, second in back]
    rows = [f"| `{name}` | {words} | `workflow/rules/{file}` |" for name, file, words in described()]
    graph = ["```mermaid", "flowchart LR", *(f"    {' '.join(each)}" for each in sorted(drawn)), "```"]
    return "\n".join([ABOUT, *graph, "", "| rule | what it does | where |", "| --- | --- | --- |", *rows]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
