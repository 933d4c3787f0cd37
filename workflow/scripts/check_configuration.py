"""Say in one sentence why configuration files cannot be read, before Snakemake tries to."""

import sys

from isthmus.study.files import unreadable

if wrong := list(filter(None, map(unreadable, sys.argv[1:]))):
    sys.exit("\n".join(wrong))
