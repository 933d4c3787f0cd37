further_training = Jobs(graph, "further_training")


rule train_further:
    input:
        data=further_training.data,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
        tickets="results/{study}/tickets/{cell}/{block}.tickets.parquet",
        pruned="results/{study}/tickets/{cell}/{block}.safetensors",
        shifted=further_training.shifted_data,
    output:
        "results/{study}/further_training/{cell}/{block}.further_training.parquet",
    log:
        "results/logs/further_training/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/further_training/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **further_training.resources,
    params:
        recipe=further_training.recipe,
        options=further_training.options,
        seeds=further_training.members,
        checkpoints="results/checkpoints/{study}/further_training/{cell}/{block}",
        code=code("train_further.py"),
    message:
        "Training further in {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/train_further.py"


use rule draw_training as draw_further_training with:
    input:
        figure_tables("further_training"),
    output:
        figure_files("further_training"),
    log:
        "results/logs/figures/{study}/further_training.log",
    benchmark:
        "results/benchmarks/figures/{study}/further_training.tsv"
    params:
        **drawing("further_training"),
