robustness = Jobs(graph, "robustness")


rule measure_robustness:
    input:
        data=robustness.data,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
        shifted=robustness.shifted_data,
    output:
        "results/{study}/robustness/{cell}/{block}.robustness.parquet",
    log:
        "results/logs/robustness/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/robustness/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **robustness.resources,
    params:
        recipe=robustness.recipe,
        options=robustness.options,
        seeds=robustness.members,
        checkpoints="results/checkpoints/{study}/robustness/{cell}/{block}",
        code=code("measure_robustness.py"),
    message:
        "Measuring the robustness of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_robustness.py"


use rule draw_training as draw_robustness with:
    input:
        figure_tables("robustness"),
    output:
        figure_files("robustness"),
    log:
        "results/logs/figures/{study}/robustness.log",
    benchmark:
        "results/benchmarks/figures/{study}/robustness.tsv"
    params:
        **drawing("robustness"),
