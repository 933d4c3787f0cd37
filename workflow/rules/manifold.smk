rule measure_manifold:
    input:
        data=sweep_data_of("manifold"),
    output:
        manifold="results/{study}/manifold/{sweep}/{block}.manifold.parquet",
        manifold_eigenvalues="results/{study}/manifold/{sweep}/{block}.manifold_eigenvalues.parquet",
        walks="results/{study}/manifold/{sweep}/{block}.walks.parquet",
    log:
        "results/logs/manifold/{study}/{sweep}/{block}.log",
    benchmark:
        "results/benchmarks/manifold/{study}/{sweep}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.jobs["threads"]
    resources:
        mem_mb=sweep_mb_of("manifold"),
        runtime=sweep_minutes_of("manifold"),
        gpu=CONFIG.jobs["gpu"] if CONFIG.jobs["device"] == "cuda" else 0,
    params:
        sweep=sweep_axes_of("manifold"),
        options=sweep_options_of("manifold"),
        seeds=sweep_seeds_of("manifold"),
        checkpoints="results/checkpoints/{study}/manifold/{sweep}/{block}",
        code=code("measure_manifold.py"),
    message:
        "Walking the manifold of {wildcards.study}: {wildcards.sweep}, seeds {params.seeds}"
    script:
        "../scripts/measure_manifold.py"


rule draw_manifold:
    input:
        figure_tables("manifold"),
    output:
        figure_files("manifold"),
    log:
        "results/logs/figures/{study}/manifold.log",
    benchmark:
        "results/benchmarks/figures/{study}/manifold.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        stage="manifold",
        code=code("isthmus/figures/manifold.py"),
    message:
        "Drawing the figures of the manifold of {wildcards.study}"
    script:
        "../scripts/draw_figures.py"


rule draw_manifold_outliers:
    input:
        figure_tables("manifold", "curvature"),
    output:
        figure_files("manifold", "curvature"),
    log:
        "results/logs/figures/{study}/manifold-outliers.log",
    benchmark:
        "results/benchmarks/figures/{study}/manifold-outliers.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        stage="manifold",
        code=code("isthmus/figures/manifold.py"),
    message:
        "Drawing trained networks of {wildcards.study} beside the theorem"
    script:
        "../scripts/draw_figures.py"
