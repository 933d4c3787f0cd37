movement = Jobs(graph, "movement")


rule measure_movement:
    input:
        data=movement.data,
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
    threads: graph.settings["threads"]
    resources:
        **movement.resources,
    params:
        recipe=movement.recipe,
        options=movement.options,
        seeds=movement.members,
        checkpoints="results/checkpoints/{study}/movement/{cell}/{block}",
        code=code("measure_movement.py"),
    message:
        "Measuring the movement of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_movement.py"


use rule draw_training as draw_movement with:
    input:
        figure_tables("movement"),
    output:
        figure_files("movement"),
    log:
        "results/logs/figures/{study}/movement.log",
    benchmark:
        "results/benchmarks/figures/{study}/movement.tsv"
    params:
        **drawing("movement"),
