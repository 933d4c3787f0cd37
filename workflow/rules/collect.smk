# A table that was measured elsewhere, as if jobs of the study had measured it.
rule take_table:
    input:
        lambda wildcards: graph.given_files(wildcards.study, wildcards.table),
    output:
        "results/{study}/taken/{table}.parquet",
    log:
        "results/logs/tables/{study}/{table}.log",
    benchmark:
        "results/benchmarks/tables/{study}/{table}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        code=code("take_table.py"),
    message:
        "Taking the table {wildcards.table} of {wildcards.study}"
    script:
        "../scripts/take_table.py"


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
        unknown=lambda wildcards: graph.unknown_columns(wildcards.table),
        code=code("collect_table.py"),
    message:
        "Collecting the table {wildcards.table}"
    script:
        "../scripts/collect_table.py"


rule describe_tables:
    input:
        graph.tables(),
    output:
        DATA_PACKAGE,
    log:
        "results/logs/tables/datapackage.log",
    benchmark:
        "results/benchmarks/tables/datapackage.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    params:
        studies=list(graph.configuration.studies),
        code=code("describe_tables.py"),
    message:
        "Describing all tables"
    script:
        "../scripts/describe_tables.py"


rule tables:
    input:
        graph.tables(),
        DATA_PACKAGE,
    localrule: True
