rule judge_claims:
    input:
        graph.claimed_tables(),
    output:
        "results/tables/claims.parquet",
    log:
        "results/logs/claims/claims.log",
    benchmark:
        "results/benchmarks/claims/claims.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        claims=graph.claims,
        measured_by=graph.measured_by(),
        code=code("judge_claims.py"),
    message:
        "Testing the published claims on all studies"
    script:
        "../scripts/judge_claims.py"


use rule draw_training as draw_claims with:
    input:
        figure_tables("claims"),
    output:
        figure_files("claims"),
    log:
        "results/logs/figures/claims.log",
    benchmark:
        "results/benchmarks/figures/claims.tsv"
    params:
        **drawing("claims"),
    message:
        "Drawing the figure of the claims"
