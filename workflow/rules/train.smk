rule train:
    input:
        data=data_of,
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
    threads: CONFIG.jobs["threads"]
    resources:
        mem_mb=mb_of("train", seeds_of),
        runtime=minutes_of("train", seeds_of),
        gpu=CONFIG.jobs["gpu"],
    params:
        recipe=recipe_of,
        seeds=seeds_of,
        checkpoints="results/checkpoints/{study}/train/{cell}/{block}",
        code=code("train.py"),
    message:
        "Training {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/train.py"
