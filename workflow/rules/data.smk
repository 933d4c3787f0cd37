rule prepare_data:
    input:
        lambda wildcards: graph.sources(wildcards.dataset),
    output:
        "results/data/{dataset}.safetensors",
    log:
        "results/logs/data/{dataset}.log",
    benchmark:
        "results/benchmarks/data/{dataset}.tsv"
    priority: 2  # all training waits for it, and it could wait long for two free cores
    conda:
        "../../envs/torch.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        content=lambda wildcards: graph.content(wildcards.dataset),
        code=code("prepare_data.py"),
    message:
        "Preparing the data set {wildcards.dataset}"
    script:
        "../scripts/prepare_data.py"
