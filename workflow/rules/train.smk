training = Jobs(graph, "train")


rule train:
    input:
        data=training.data,
    output:
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
        history="results/{study}/train/{cell}/{block}.history.parquet",
    log:
        "results/logs/train/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/train/{study}/{cell}/{block}.tsv"
    priority: 1  # most other jobs wait for it
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **training.resources,
    params:
        recipe=training.recipe,
        seeds=training.members,
        checkpoints="results/checkpoints/{study}/train/{cell}/{block}",
        code=code("train.py"),
    message:
        "Training {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/train.py"
