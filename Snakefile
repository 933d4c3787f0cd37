from pathlib import Path

from snakemake.utils import min_version

min_version("9.14")


# A file given with --configfile stands alone; without studies of its own it amends the default one.
if "studies" not in config:

    configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


for rules_file in sorted(Path(workflow.basedir, "workflow", "rules").glob("*.smk")):
    if rules_file.name != "common.smk":

        include: rules_file


rule all:
    default_target: True
    input:
        all_tables(),
        all_figures(),
    localrule: True
