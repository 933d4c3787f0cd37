from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")


# A file given with --configfile stands alone; without studies of its own it amends the default one, which is that of
# the folder the workflow runs in, or else the one beside this file.
if "studies" not in config:

    configfile: "config.yaml" if Path("config.yaml").exists() else Path(workflow.basedir, "config.yaml")


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


# Checkpoints have done their work once all jobs are recorded as finished; never before.
onsuccess:
    forget_finished_work()
