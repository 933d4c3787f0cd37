rule collect_table:
    input:
        table_parts,
    output:
        "results/tables/{table}.parquet",
    log:
        "results/logs/tables/{table}.log",
    benchmark:
        "results/benchmarks/tables/{table}.tsv"
    params:
        code=code("collect_table.py"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    conda:
        "../../envs/tables.yaml"
    message:
        "Collecting the table {wildcards.table}"
    script:
        "../scripts/collect_table.py"


rule tables:
    input:
        all_tables(),
    localrule: True
