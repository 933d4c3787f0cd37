"""A small configuration of everything, which the real workflow runs once for a whole session of tests.

Three studies, of seconds each, for the fixture `finished` in conftest.py:

- `plain`: networks without normalization on clean labels and on noisy ones of their own, in two batch sizes; all kinds
  of paths between those of the smaller one, tickets and robustness of the clean ones there, relations of them all;
- `curved`: plain gradient descent, with snapshots, its networks small enough for their whole Hessians;
- `sizes`: batch normalization, and a subset of the examples of a size of its own for everything that is measured; half
  of its networks diverge.
"""

from typing import Any

from isthmus.tables.descriptions import stages

KINDS = ["linear", "linear-aligned", "linear-repaired", "bezier", "polychain", "bezier-aligned"]
CORRUPTIONS: dict[str, Any] = {"corruptions": ["shot_noise", "contrast"], "severities": [1, 5]}
ONE_CELL: dict[str, Any] = {"where": {"batch_size": [32], "label_noise": [0.0]}}
PLAIN: dict[str, Any] = {
    "training": {"epochs": 8, "learning_rate": 0.05, "batch_scaling": "sqrt", "reference_batch_size": 32},
    "grid": {"width": [8], "depth": [2], "batch_size": [32, 128], "seed": 3, "label_noise": [0.0, 0.1]},
    "analyses": {
        "connect": {
            "where": {"batch_size": [32]},
            "kinds": KINDS,
            "line_points": 13,
            "curve_points": 13,
            "alignment": {"restarts": 2},
            "curve": {"epochs": 2},
            "sharpness": {"points": 3, "images": 300},
            "planes": {"points": 5},
        },
        "tickets": {
            "kept_fractions": [0.5, 0.1],
            "rewind_step": 10,
            "line_points": 5,
            "curvature": {"images": 50},
            "robustness": CORRUPTIONS,
        }
        | ONE_CELL,
        "robustness": CORRUPTIONS | {"shifted_data": "digits"} | ONE_CELL,
        "relations": {},
    },
}
CURVED: dict[str, Any] = {
    "training": {"epochs": 6, "learning_rate": 0.05, "momentum": 0.0, "schedule": "constant", "snapshots": [2, 4]},
    "grid": {"width": [6], "depth": [1], "batch_size": [32], "seed": 2},
    "analyses": {
        "curvature": {
            "images": 400,
            "eigenvalues": 4,
            "smallest_eigenvalues": 2,
            "gauss_newton_eigenvalues": 2,
            "during_training": True,
            "dense_limit": 600,
            "spectrum": {"probes": 4, "steps": 60, "points": 400},
            "noise": {"sigmas": [0.001, 0.01]},
        },
        "movement": {"kernel_images": 20},
    },
}
SIZES: dict[str, Any] = {
    "data": {"train_size": 300},
    "training": {"epochs": 2, "statistics_size": 80},
    "network": {"normalization": "batch"},
    "grid": {"width": [4], "depth": [1], "batch_size": [32], "seed": 2, "learning_rate": [0.05, 1e20]},
    "analyses": {
        "connect": {
            "kinds": ["linear", "linear-aligned", "bezier"],
            "line_points": 3,
            "curve_points": 3,
            "curve": {"epochs": 1},
            "evaluation_examples": 350,
            "alignment": {"method": "activations", "images": 70},
            "sharpness": {"points": 2, "images": 60, "trace_precision": None},
            "planes": {"points": 2, "examples": 70},
        },
        "layerwise": {"points": 3, "evaluation_examples": 320},
        "curvature": {
            "images": 50,
            "eigenvalues": 1,
            "gauss_newton_eigenvalues": 0,
            "trace_precision": None,
            "dense_limit": 100,
            "spectrum": {"probes": 1, "steps": 4, "points": 5},
            "noise": {"images": 1000, "sigmas": [0.01], "relative_sigmas": [], "radii": [0.05], "adaptive_radii": []},
        },
        "fragility": {"images": 150, "draws": 2, "test_size": 70, "robustness": {"corruptions": ["contrast"]}},
        "gradient_noise": {"images": 200, "alignment_images": 30},
        "local_learning_coefficient": {
            "localizations": [100, 1000],
            "chains": 2,
            "burn_in": 2,
            "draws": 6,
            "images": 50,
        },
        "movement": {"kernel_images": 20},
        "stability": {"steps": [0, 5], "line_points": 3, "evaluation_examples": 340},
        "further_training": {"corruption": "contrast", "epochs": 1},
        "tickets": {
            "kept_fractions": [0.5],
            "controls": ["random"],
            "kept_controls": ["random"],
            "line_points": 3,
            "evaluation_examples": 340,
            "curvature": {"images": 40},
            "robustness": {"corruptions": ["contrast"]},
        },
        "robustness": {"corruptions": ["contrast"], "severities": [1], "test_size": 90},
        "manifold": {
            "sweeps": {
                "images": {"width": [6], "points": [4], "data": ["images"], "seeds": 1},
                "tiny": {"width": [3], "points": [4], "seeds": 3, "learning_coefficient": True},
            },
            "learning_coefficient": {"chains": 8, "burn_in": 50, "draws": 50},
            "off_data_points": 1000,
            "labels": 0,
            "walks": {"towards": 0, "length": 0.1},
        },
    },
}
CONFIG: dict[str, Any] = {
    "studies": {"plain": PLAIN, "curved": CURVED, "sizes": SIZES},
    "jobs": {"seeds": 3, "pairs": 3},
}
# All tables, and every figure for one of the studies.
DRAWN = {"sizes": ["train", *SIZES["analyses"]], "plain": ["relations"]}
TARGETS = ["tables", "results/figures/claims.pdf"] + [
    f"results/figures/{study}/{figure.name}.pdf"
    for study, names in DRAWN.items()
    for name in names
    for figure in stages()[name].figures
]
