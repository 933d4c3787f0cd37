curvature = Jobs(graph, "curvature")


rule measure_curvature:
    input:
        data=curvature.data,
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
    threads: graph.settings["threads"]
    resources:
        **curvature.resources,
    params:
        recipe=curvature.recipe,
        options=curvature.options,
        seeds=curvature.members,
        checkpoints="results/checkpoints/{study}/curvature/{cell}/{block}",
        code=code("measure_curvature.py"),
    message:
        "Measuring the curvature of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_curvature.py"


use rule draw_training as draw_curvature with:
    input:
        figure_tables("curvature"),
    output:
        figure_files("curvature"),
    log:
        "results/logs/figures/{study}/curvature.log",
    benchmark:
        "results/benchmarks/figures/{study}/curvature.tsv"
    params:
        **drawing("curvature"),
