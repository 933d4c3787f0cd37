rule connect:
    input:
        data=data_of,
        weights=networks_of("connect", "safetensors"),
        networks=networks_of("connect", "networks.parquet"),
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
    threads: CONFIG.jobs["threads"]
    resources:
        mem_mb=mb_of("connect", pairs_of("connect")),
        runtime=minutes_of("connect", pairs_of("connect")),
        gpu=CONFIG.jobs["gpu"],
    params:
        recipe=recipe_of,
        options=options_of("connect"),
        pairs=pairs_of("connect"),
        plane_pair=first_pair_of("connect"),
        checkpoints="results/checkpoints/{study}/connect/{cell}/{block}",
        code=code("connect.py"),
    message:
        "Connecting {wildcards.study}: {wildcards.cell}, pairs {params.pairs}"
    script:
        "../scripts/connect.py"


rule draw_connections:
    input:
        figure_tables("connect"),
    output:
        figure_files("connect"),
    log:
        "results/logs/figures/{study}/connections.log",
    benchmark:
        "results/benchmarks/figures/{study}/connections.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        stage="connect",
        code=code("isthmus/figures/connect.py"),
    message:
        "Drawing the figures of the paths of {wildcards.study}"
    script:
        "../scripts/draw_figures.py"
