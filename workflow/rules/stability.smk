stability = Jobs(graph, "stability")


rule measure_stability:
    input:
        data=stability.data,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
        history="results/{study}/train/{cell}/{block}.history.parquet",
    output:
        "results/{study}/stability/{cell}/{block}.stability.parquet",
    log:
        "results/logs/stability/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/stability/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **stability.resources,
    params:
        recipe=stability.recipe,
        options=stability.options,
        seeds=stability.members,
        checkpoints="results/checkpoints/{study}/stability/{cell}/{block}",
        code=code("measure_stability.py"),
    message:
        "Measuring from which step on training is stable: {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_stability.py"


use rule draw_training as draw_stability with:
    input:
        figure_tables("stability"),
    output:
        figure_files("stability"),
    log:
        "results/logs/figures/{study}/stability.log",
    benchmark:
        "results/benchmarks/figures/{study}/stability.tsv"
    params:
        **drawing("stability"),
