layerwise = Jobs(graph, "layerwise")


rule measure_layerwise:
    input:
        data=layerwise.data,
        weights=layerwise.weights,
        networks=layerwise.networks,
    output:
        "results/{study}/layerwise/{cell}/{block}.layers.parquet",
    log:
        "results/logs/layerwise/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/layerwise/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **layerwise.resources,
    params:
        recipe=layerwise.recipe,
        options=layerwise.options,
        pairs=layerwise.members,
        checkpoints="results/checkpoints/{study}/layerwise/{cell}/{block}",
        code=code("measure_layerwise.py"),
    message:
        "Interpolating layer by layer in {wildcards.study}: {wildcards.cell}, pairs {params.pairs}"
    script:
        "../scripts/measure_layerwise.py"


use rule draw_training as draw_layerwise with:
    input:
        figure_tables("layerwise"),
    output:
        figure_files("layerwise"),
    log:
        "results/logs/figures/{study}/layerwise.log",
    benchmark:
        "results/benchmarks/figures/{study}/layerwise.tsv"
    params:
        **drawing("layerwise"),
