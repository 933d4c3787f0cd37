fragility = Jobs(graph, "fragility")


rule measure_fragility:
    input:
        data=fragility.data,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
    output:
        fragility="results/{study}/fragility/{cell}/{block}.fragility.parquet",
        corruptions="results/{study}/fragility/{cell}/{block}.fragility_corruptions.parquet",
    log:
        "results/logs/fragility/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/fragility/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **fragility.resources,
    params:
        recipe=fragility.recipe,
        options=fragility.options,
        seeds=fragility.members,
        checkpoints="results/checkpoints/{study}/fragility/{cell}/{block}",
        code=code("measure_fragility.py"),
    message:
        "Measuring fragility during training of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_fragility.py"


use rule draw_training as draw_fragility with:
    input:
        figure_tables("fragility"),
    output:
        figure_files("fragility"),
    log:
        "results/logs/figures/{study}/fragility.log",
    benchmark:
        "results/benchmarks/figures/{study}/fragility.tsv"
    params:
        **drawing("fragility"),
