# Computed in float64, for which few GPUs are made, so a GPU is requested only with `device: cuda`.
manifold = Jobs(graph, "manifold", gpu=graph.settings["device"] == "cuda")


rule measure_manifold:
    input:
        data=manifold.data,
    output:
        manifold="results/{study}/manifold/{sweep}/{block}.manifold.parquet",
        manifold_eigenvalues="results/{study}/manifold/{sweep}/{block}.manifold_eigenvalues.parquet",
        walks="results/{study}/manifold/{sweep}/{block}.walks.parquet",
        learning_coefficients="results/{study}/manifold/{sweep}/{block}.learning_coefficients.parquet",
    log:
        "results/logs/manifold/{study}/{sweep}/{block}.log",
    benchmark:
        "results/benchmarks/manifold/{study}/{sweep}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **manifold.resources,
    params:
        sweep=manifold.sweep,
        options=manifold.options,
        seeds=manifold.members,
        checkpoints="results/checkpoints/{study}/manifold/{sweep}/{block}",
        code=code("measure_manifold.py"),
    message:
        "Walking the manifold of {wildcards.study}: {wildcards.sweep}, seeds {params.seeds}"
    script:
        "../scripts/measure_manifold.py"


use rule draw_training as draw_manifold with:
    input:
        figure_tables("manifold"),
    output:
        figure_files("manifold"),
    log:
        "results/logs/figures/{study}/manifold.log",
    benchmark:
        "results/benchmarks/figures/{study}/manifold.tsv"
    params:
        **drawing("manifold"),


use rule draw_training as draw_manifold_outliers with:
    input:
        figure_tables("manifold", "curvature"),
    output:
        figure_files("manifold", "curvature"),
    log:
        "results/logs/figures/{study}/manifold-outliers.log",
    benchmark:
        "results/benchmarks/figures/{study}/manifold-outliers.tsv"
    params:
        **drawing("manifold"),
    message:
        "Drawing trained networks of {wildcards.study} compared with the theorem"
