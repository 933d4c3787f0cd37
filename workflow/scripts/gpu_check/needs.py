"""What the check needs beyond PyTorch, and what of it is absent. Imports nothing but the standard library."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TEST_PACKAGES = ("pytest", "PyHessian", "curvlinops-for-pytorch")
"""Of the dependency group `dev`: for the device tests, and for what curvature is compared with."""


def packages() -> list[str]:
    """The names of the packages of pyproject.toml that the check uses."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in project["dependencies"]]
    return [*names, *TEST_PACKAGES]


def absent() -> list[str]:
    """Those that are not installed."""
    return [name for name in packages() if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def needs_text(data: Path | None) -> str:
    """What is needed, and what of it is missing here, in a few lines."""
    missing = absent()
    lines = [f"needed: {', '.join(packages())}"]
    if missing:
        lines += [
            f"not installed: {', '.join(missing)}; what needs them is skipped by name",
            f"to bring them: pip download --dest wheels --constraint constraints.txt {' '.join(missing)}",
        ]
    found = data is not None and (data / "cifar-10-batches-py").is_dir()
    lines += [f"CIFAR-10: {data if found else 'not found; --data names the folder that has cifar-10-batches-py'}"]
    return "\n".join(lines)
