rule collect_table:
    input:
        lambda wildcards: graph.parts(wildcards.table),
    output:
        "results/tables/{table}.parquet",
    log:
        "results/logs/tables/{table}.log",
    benchmark:
        "results/benchmarks/tables/{table}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        code=code("collect_table.py"),
    message:
        "Collecting the table {wildcards.table}"
    script:
        "../scripts/collect_table.py"


rule tables:
    input:
        graph.tables(),
    localrule: True
