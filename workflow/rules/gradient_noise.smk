gradient_noise = Jobs(graph, "gradient_noise")


rule measure_gradient_noise:
    input:
        data=gradient_noise.data,
        weights="results/{study}/train/{cell}/{block}.safetensors",
        networks="results/{study}/train/{cell}/{block}.networks.parquet",
    output:
        "results/{study}/gradient_noise/{cell}/{block}.gradient_noise.parquet",
    log:
        "results/logs/gradient_noise/{study}/{cell}/{block}.log",
    benchmark:
        "results/benchmarks/gradient_noise/{study}/{cell}/{block}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: graph.settings["threads"]
    resources:
        **gradient_noise.resources,
    params:
        recipe=gradient_noise.recipe,
        options=gradient_noise.options,
        seeds=gradient_noise.members,
        checkpoints="results/checkpoints/{study}/gradient_noise/{cell}/{block}",
        code=code("measure_gradient_noise.py"),
    message:
        "Measuring the noise of gradients of {wildcards.study}: {wildcards.cell}, seeds {params.seeds}"
    script:
        "../scripts/measure_gradient_noise.py"


use rule draw_training as draw_gradient_noise with:
    input:
        figure_tables("gradient_noise"),
    output:
        figure_files("gradient_noise"),
    log:
        "results/logs/figures/{study}/gradient_noise.log",
    benchmark:
        "results/benchmarks/figures/{study}/gradient_noise.tsv"
    params:
        **drawing("gradient_noise"),
