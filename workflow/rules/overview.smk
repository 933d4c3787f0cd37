rule write_overview:
    input:
        tables=overview_tables(graph),
        figures=overview_figures(graph),
    output:
        "results/overview.html",
    log:
        "results/logs/figures/overview.log",
    benchmark:
        "results/benchmarks/figures/overview.tsv"
    group:
        "figures"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
        at_once=1,  # in the job on a cluster that draws
    params:
        studies=described_studies(graph),
        claims=described_claims(),
        template=lambda wildcards: (HERE / "report" / "overview.html.jinja2").read_text(encoding="utf-8"),
        code=code("write_overview.py"),
    message:
        "Writing the overview of all studies"
    script:
        "../scripts/write_overview.py"
