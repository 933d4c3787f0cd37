# The cells of a study in a file of its own: what reads it does not rerun when another study changes.
rule list_cells:
    output:
        "results/{study}/cells/cells.parquet",
    log:
        "results/logs/cells/{study}.log",
    benchmark:
        "results/benchmarks/cells/{study}.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    params:
        cells=lambda wildcards: graph.cells(wildcards.study),
        code=code("list_cells.py"),
    message:
        "Listing the cells of {wildcards.study}"
    script:
        "../scripts/list_cells.py"


use rule list_cells as list_all_cells with:
    output:
        "results/tables/cells.parquet",
    log:
        "results/logs/tables/cells.log",
    benchmark:
        "results/benchmarks/tables/cells.tsv"
    params:
        cells=graph.cells(),
        code=code("list_cells.py"),
    message:
        "Listing the cells of all studies"
