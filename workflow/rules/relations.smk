rule relate:
    input:
        tables_of_networks,
    output:
        quantities="results/{study}/relations/all/0.quantities.parquet",
        correlations="results/{study}/relations/all/0.correlations.parquet",
        effects="results/{study}/relations/all/0.effects.parquet",
        saturation="results/{study}/relations/all/0.saturation.parquet",
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
        options=options_of("relations"),
        quantities=quantities_of,
        code=code("relate.py"),
    message:
        "Relating geometry and generalization of {wildcards.study}"
    script:
        "../scripts/relate.py"


rule draw_relations:
    input:
        figure_tables("relations"),
    output:
        figure_files("relations"),
    log:
        "results/logs/figures/{study}/relations.log",
    benchmark:
        "results/benchmarks/figures/{study}/relations.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        stage="relations",
        quantities=quantities_of,
        code=code("isthmus/figures/relations.py"),
    message:
        "Drawing the figures of the relations of {wildcards.study}"
    script:
        "../scripts/draw_figures.py"
