rule find_tickets:
    input:
        data=data_of,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
        history="results/{study}/train/{cell}/{block}.history.parquet",
    output:
        tickets="results/{study}/tickets/{cell}/{block}.tickets.parquet",
        layers="results/{study}/tickets/{cell}/{block}.ticket_layers.parquet",
        masks="results/{study}/tickets/{cell}/{block}.safetensors",
    log:
        "results/logs/tickets/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/tickets/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.jobs["threads"]
    resources:
        mem_mb=mb_of("tickets", seeds_of),
        runtime=minutes_of("tickets", seeds_of),
        gpu=CONFIG.jobs["gpu"],
    params:
        recipe=recipe_of,
        options=options_of("tickets"),
        seeds=seeds_of,
        checkpoints="results/checkpoints/{study}/tickets/{cell}/{block}",
        code=code("find_tickets.py"),
    message:
        "Finding the tickets of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/find_tickets.py"


rule draw_tickets:
    input:
        figure_tables("tickets"),
    output:
        figure_files("tickets"),
    log:
        "results/logs/figures/{study}/tickets.log",
    benchmark:
        "results/benchmarks/figures/{study}/tickets.tsv"
    conda:
        "../../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        stage="tickets",
        code=code("isthmus/figures/tickets.py"),
    message:
        "Drawing the figures of the tickets of {wildcards.study}"
    script:
        "../scripts/draw_figures.py"
