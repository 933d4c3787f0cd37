relations = Jobs(graph, "relations")


rule relate:
    input:
        lambda wildcards: graph.network_tables(wildcards.study),
    output:
        quantities="results/{study}/relations/all/0.quantities.parquet",
        correlations="results/{study}/relations/all/0.correlations.parquet",
        effects="results/{study}/relations/all/0.effects.parquet",
        saturation="results/{study}/relations/all/0.saturation.parquet",
        path_relations="results/{study}/relations/all/0.path_relations.parquet",
    log:
        "results/logs/relations/{study}.log",
    benchmark:
        "results/benchmarks/relations/{study}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        options=relations.options,
        quantities=lambda wildcards: graph.quantities(wildcards.study),
        code=code("relate.py"),
    message:
        "Relating geometry and generalization of {wildcards.study}"
    script:
        "../scripts/relate.py"


use rule draw_training as draw_relations with:
    input:
        figure_tables("relations"),
    output:
        figure_files("relations"),
    log:
        "results/logs/figures/{study}/relations.log",
    benchmark:
        "results/benchmarks/figures/{study}/relations.tsv"
    params:
        **drawing("relations"),
        quantities=lambda wildcards: graph.quantities(wildcards.study),
