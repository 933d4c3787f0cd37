local_learning_coefficient = Jobs(graph, "local_learning_coefficient")


rule measure_local_learning_coefficient:
    input:
        data=local_learning_coefficient.data,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
    output:
        "results/{study}/local_learning_coefficient/{cell}/{block}.local_learning_coefficients.parquet",
    log:
        "results/logs/local_learning_coefficient/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/local_learning_coefficient/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **local_learning_coefficient.resources,
    params:
        recipe=local_learning_coefficient.recipe,
        options=local_learning_coefficient.options,
        seeds=local_learning_coefficient.members,
        checkpoints="results/checkpoints/{study}/local_learning_coefficient/{cell}/{block}",
        code=code("measure_local_learning_coefficient.py"),
    message:
        "Estimating the local learning coefficients of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_local_learning_coefficient.py"


use rule draw_training as draw_local_learning_coefficient with:
    input:
        figure_tables("local_learning_coefficient"),
    output:
        figure_files("local_learning_coefficient"),
    log:
        "results/logs/figures/{study}/local_learning_coefficient.log",
    benchmark:
        "results/benchmarks/figures/{study}/local_learning_coefficient.tsv"
    params:
        **drawing("local_learning_coefficient"),
