rule measure_robustness:
    input:
        data=data_of,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
        shifted=shifted_data_of("robustness"),
    output:
        "results/{study}/robustness/{cell}/{block}.robustness.parquet",
    log:
        "results/logs/robustness/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/robustness/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.jobs["threads"]
    resources:
        mem_mb=mb_of("robustness", seeds_of),
        runtime=minutes_of("robustness", seeds_of),
        gpu=CONFIG.jobs["gpu"],
    params:
        recipe=recipe_of,
        options=options_of("robustness"),
        seeds=seeds_of,
        checkpoints="results/checkpoints/{study}/robustness/{cell}/{block}",
        code=code("measure_robustness.py"),
    message:
        "Measuring the robustness of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_robustness.py"


rule draw_robustness:
    input:
        figure_tables("robustness"),
    output:
        figure_files("robustness"),
    log:
        "results/logs/figures/{study}/robustness.log",
    benchmark:
        "results/benchmarks/figures/{study}/robustness.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        stage="robustness",
        code=code("isthmus/figures/robustness.py"),
    message:
        "Drawing the figures of the robustness of {wildcards.study}"
    script:
        "../scripts/draw_figures.py"
