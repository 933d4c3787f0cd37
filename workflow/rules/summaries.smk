# The summaries of one stage of a study: they do not rerun when another analysis is added.
rule summarize:
    input:
        lambda wildcards: graph.summarized_tables(wildcards.study, wildcards.stage),
    output:
        "results/{study}/{stage}/summaries.parquet",
    log:
        "results/logs/summaries/{study}/{stage}.log",
    benchmark:
        "results/benchmarks/summaries/{study}/{stage}.tsv"
    group:
        "figures"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
        at_once=1,  # a job on a cluster summarizes and draws one stage after another
    params:
        quantities=lambda wildcards: graph.summarized(wildcards.study, wildcards.stage),
        code=code("summarize.py"),
    message:
        "Summarizing {wildcards.study}: {wildcards.stage}"
    script:
        "../scripts/summarize.py"


rule collect_summaries:
    input:
        graph.summaries(),
    output:
        "results/tables/summaries.parquet",
    log:
        "results/logs/tables/summaries.log",
    benchmark:
        "results/benchmarks/tables/summaries.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        code=code("collect_summaries.py"),
    message:
        "Collecting the summaries of all studies"
    script:
        "../scripts/collect_summaries.py"
