"""One command that tells what this workflow does on a GPU: `make gpu-check`, described in docs/gpu.md.

Five parts (`__main__.PARTS`), each a list of cases in the order of their worth. A case returns what it measured, or
raises; `record` keeps the outcome of every case on disk, so that a call that was killed, or out of time, is taken up
by the next one. Outside of `needs` and `record`, modules are imported late: what a machine lacks is skipped by name.
"""
