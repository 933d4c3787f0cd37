"""What the check has found so far: one file for programs and one to read, both written whole after every case."""

import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSED, FAILED, SKIPPED, UNFINISHED = "passed", "failed", "skipped", "unfinished"
DIGITS = 4  # significant ones of numbers that are shown


class OtherMachine(Exception):
    """The record on disk is of another machine."""


@dataclass
class Record:
    """folder: of both files. machine: what was measured on. parts: by part and case, what `keep` was given."""

    folder: Path
    machine: dict[str, str]
    parts: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, machine: dict[str, str]) -> "Record":
        """The record in `folder`, or a new one. Raises OtherMachine if that one was not made on this machine."""
        path = folder / "gpu-check.json"
        if not path.exists():
            return cls(folder, machine)
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["machine"] != machine:
            raise OtherMachine(
                f"{path} is from another machine or size, {known['machine']}; this is {machine}: "
                "move it away, or name another folder with --out"
            )
        return cls(folder, machine, known["parts"])

    def passed(self, part: str, case: str) -> bool:
        """Whether a case need not run again."""
        return self.parts.get(part, {}).get(case, {}).get("status") == PASSED

    def keep(self, part: str, case: str, status: str, seconds: float, measured: dict[str, Any], why: str = "") -> None:
        """Keep the outcome of a case, and write both files."""
        row = {"status": status, "seconds": round(seconds, 2), "why": why, "measured": measured}
        self.parts.setdefault(part, {})[case] = row
        self.save()

    def measured(self, part: str) -> list[dict[str, Any]]:
        """What the passed cases of a part measured."""
        return [row["measured"] for row in self.parts.get(part, {}).values() if row["status"] == PASSED]

    def save(self) -> None:
        """Write both files, each whole."""
        from gpu_check.findings import findings  # which reads this record

        plain = json.dumps({"machine": self.machine, "parts": self.parts}, indent=1)
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("gpu-check.json", plain), ("gpu-check.md", self.page(findings(self)))):
            written = self.folder / f"{name}.part"
            written.write_text(text + "\n", encoding="utf-8")
            written.replace(self.folder / name)

    def page(self, findings: list[str]) -> str:
        """The page to read: the machine, what was found, and a table for each part."""
        lines = ["# GPU check", "", *(f"- {key}: {value}" for key, value in self.machine.items())]
        if findings:
            lines += ["", "## Found", "", *findings]
        for part, cases in self.parts.items():
            lines += ["", f"## {part}", "", *_table(cases)]
        return "\n".join(lines)


def shown(value: Any) -> str:
    """A measured value in a table."""
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return "" if value is None else str(value).replace("|", "/").replace("\n", " ")


def _table(cases: dict[str, dict[str, Any]]) -> list[str]:
    columns = list(dict.fromkeys(key for row in cases.values() for key in row["measured"]))
    reasons = ["why"] if any(row["why"] for row in cases.values()) else []
    lines = [["case", "status", "seconds", *columns, *reasons]]
    lines += [["---"] * len(lines[0])]
    for name, row in cases.items():
        values = [shown(row["measured"].get(column)) for column in columns]
        lines += [[name, row["status"], shown(row["seconds"]), *values, *(shown(row[key]) for key in reasons)]]
    return [f"| {' | '.join(line)} |" for line in lines]


def machine(device: str, smallest: bool) -> dict[str, str]:
    """What is measured on."""
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {
        "device": device,
        "card": name,
        "PyTorch": torch.__version__,
        "CUDA": torch.version.cuda or "none",
        "Python": platform.python_version(),
        "sizes": "smallest" if smallest else "full",
    }
