learning_coefficient = Jobs(graph, "learning_coefficient")


rule measure_learning_coefficient:
    input:
        data=learning_coefficient.data,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
    output:
        "results/{study}/learning_coefficient/{cell}/{block}.learning_coefficient.parquet",
    log:
        "results/logs/learning_coefficient/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/learning_coefficient/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **learning_coefficient.resources,
    params:
        recipe=learning_coefficient.recipe,
        options=learning_coefficient.options,
        seeds=learning_coefficient.members,
        checkpoints="results/checkpoints/{study}/learning_coefficient/{cell}/{block}",
        code=code("measure_learning_coefficient.py"),
    message:
        "Estimating the local learning coefficients of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_learning_coefficient.py"


use rule draw_training as draw_learning_coefficient with:
    input:
        figure_tables("learning_coefficient"),
    output:
        figure_files("learning_coefficient"),
    log:
        "results/logs/figures/{study}/learning_coefficient.log",
    benchmark:
        "results/benchmarks/figures/{study}/learning_coefficient.tsv"
    params:
        **drawing("learning_coefficient"),
