connect = Jobs(graph, "connect")


rule connect:
    input:
        data=connect.data,
        weights=connect.weights,
        networks=connect.networks,
    output:
        connections="results/{study}/connect/{cell}/{block}.connections.parquet",
        paths="results/{study}/connect/{cell}/{block}.paths.parquet",
        planes="results/{study}/connect/{cell}/{block}.planes.parquet",
    log:
        "results/logs/connect/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/connect/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **connect.resources,
    params:
        recipe=connect.recipe,
        options=connect.options,
        pairs=connect.members,
        plane_pair=connect.plane_pair,
        checkpoints="results/checkpoints/{study}/connect/{cell}/{block}",
        code=code("connect.py"),
    message:
        "Connecting {wildcards.study}: {wildcards.cell}, pairs {params.pairs}"
    script:
        "../scripts/connect.py"


use rule draw_training as draw_connections with:
    input:
        figure_tables("connect"),
    output:
        figure_files("connect"),
    log:
        "results/logs/figures/{study}/connections.log",
    benchmark:
        "results/benchmarks/figures/{study}/connections.tsv"
    params:
        **drawing("connect"),
