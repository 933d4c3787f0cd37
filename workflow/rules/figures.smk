# The rules that draw the figures of analyses inherit from this one.
rule draw_training:
    input:
        figure_tables("train"),
    output:
        figure_files("train"),
    log:
        "results/logs/figures/{study}/training.log",
    benchmark:
        "results/benchmarks/figures/{study}/training.tsv"
    group:
        "figures"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
        at_once=1,  # one cluster job draws all figures, one after the other
    params:
        **drawing("train"),
    message:
        "Drawing the figures of {wildcards.study}: {params.stage}"
    script:
        "../scripts/draw_figures.py"


rule figures:
    input:
        graph.figures(),
    localrule: True
