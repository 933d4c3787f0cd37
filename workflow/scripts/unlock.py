"""Unlock this folder if a Snakemake locked it that is certainly gone; refuse if it may still be at work."""

import subprocess
import sys
from pathlib import Path

from isthmus.core.occupancy import occupant

HERE = Path()

if any(Path(".snakemake", "locks").glob("*")):
    if reason := occupant(HERE):
        sys.exit(f"This folder is locked. {reason} To unlock it by hand: snakemake --unlock")
    print("Unlocking this folder: the run that worked in it was killed.", flush=True)
    sys.exit(subprocess.run([sys.executable, "-m", "snakemake", *sys.argv[1:], "--unlock"]).returncode)
