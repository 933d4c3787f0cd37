rule measure_curvature:
    input:
        data=data_of,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
    output:
        curvature="results/{study}/curvature/{cell}/{block}.curvature.parquet",
        eigenvalues="results/{study}/curvature/{cell}/{block}.eigenvalues.parquet",
        spectrum="results/{study}/curvature/{cell}/{block}.spectrum.parquet",
        perturbations="results/{study}/curvature/{cell}/{block}.perturbations.parquet",
    log:
        "results/logs/curvature/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/curvature/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.jobs["threads"]
    resources:
        mem_mb=mb_of("curvature", seeds_of),
        runtime=minutes_of("curvature", seeds_of),
        gpu=CONFIG.jobs["gpu"],
    params:
        recipe=recipe_of,
        options=options_of("curvature"),
        seeds=seeds_of,
        checkpoints="results/checkpoints/{study}/curvature/{cell}/{block}",
        code=code("measure_curvature.py"),
    message:
        "Measuring the curvature of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_curvature.py"


rule draw_curvature:
    input:
        figure_tables("curvature"),
    output:
        figure_files("curvature"),
    log:
        "results/logs/figures/{study}/curvature.log",
    benchmark:
        "results/benchmarks/figures/{study}/curvature.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        stage="curvature",
        code=code("isthmus/figures/curvature.py"),
    message:
        "Drawing the figures of the curvature of {wildcards.study}"
    script:
        "../scripts/draw_figures.py"
