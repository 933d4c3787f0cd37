rule draw_training:
    input:
        figure_tables("train"),
    output:
        figure_files("train"),
    log:
        "results/logs/figures/{study}/training.log",
    benchmark:
        "results/benchmarks/figures/{study}/training.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        stage="train",
        code=code("isthmus/figures/train.py"),
    message:
        "Drawing the figures of training of {wildcards.study}"
    script:
        "../scripts/draw_figures.py"


rule figures:
    input:
        all_figures(),
    localrule: True
