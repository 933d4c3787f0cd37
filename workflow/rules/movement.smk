rule measure_movement:
    input:
        data=data_of,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
    output:
        movement="results/{study}/movement/{cell}/{block}.movement.parquet",
        kernels="results/{study}/movement/{cell}/{block}.kernels.parquet",
    log:
        "results/logs/movement/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/movement/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.jobs["threads"]
    resources:
        mem_mb=mb_of("movement", seeds_of),
        runtime=minutes_of("movement", seeds_of),
        gpu=CONFIG.jobs["gpu"],
    params:
        recipe=recipe_of,
        options=options_of("movement"),
        seeds=seeds_of,
        checkpoints="results/checkpoints/{study}/movement/{cell}/{block}",
        code=code("measure_movement.py"),
    message:
        "Measuring the movement of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_movement.py"


rule draw_movement:
    input:
        figure_tables("movement"),
    output:
        figure_files("movement"),
    log:
        "results/logs/figures/{study}/movement.log",
    benchmark:
        "results/benchmarks/figures/{study}/movement.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        stage="movement",
        code=code("isthmus/figures/movement.py"),
    message:
        "Drawing the figures of the movement of {wildcards.study}"
    script:
        "../scripts/draw_figures.py"
