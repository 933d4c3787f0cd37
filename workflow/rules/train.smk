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
    wildcard_constraints:
        study=graph.studies_trained(elsewhere=False),
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


# In the place of training, for networks trained elsewhere; whatever follows reads the same files. A file of weights is
# imported again when its content changes, whatever its time.
rule import_networks:
    input:
        data=training.data,
        checkpoints=ancient(training.checkpoints),
    output:
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
        history="results/{study}/train/{cell}/{block}.history.parquet",
    log:
        "results/logs/train/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/train/{study}/{cell}/{block}.tsv"
    wildcard_constraints:
        study=graph.studies_trained(elsewhere=True),
    priority: 1
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **training.resources,
    params:
        recipe=training.recipe,
        seeds=training.members,
        snapshots=training.snapshots,
        code=code("import_networks.py"),
    message:
        "Importing {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/import_networks.py"
