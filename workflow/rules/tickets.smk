tickets = Jobs(graph, "tickets")


rule find_tickets:
    input:
        data=tickets.data,
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
    threads: graph.settings["threads"]
    resources:
        **tickets.resources,
    params:
        recipe=tickets.recipe,
        options=tickets.options,
        seeds=tickets.members,
        checkpoints="results/checkpoints/{study}/tickets/{cell}/{block}",
        code=code("find_tickets.py"),
    message:
        "Finding the tickets of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/find_tickets.py"


use rule draw_training as draw_tickets with:
    input:
        figure_tables("tickets"),
    output:
        figure_files("tickets"),
    log:
        "results/logs/figures/{study}/tickets.log",
    benchmark:
        "results/benchmarks/figures/{study}/tickets.tsv"
    params:
        **drawing("tickets"),
