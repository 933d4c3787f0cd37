# The workflow is workflow/Snakefile. This file lets `snakemake` find it, and the profiles beside this file, from here.
include: "workflow/Snakefile"


# A default target is that of the main Snakefile, not of one it includes.
rule default:
    default_target: True
    input:
        rules.all.input,
    localrule: True
