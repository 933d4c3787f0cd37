"""What a path has over its points: means with and without its ends."""

from isthmus.analyses.connect.measure import path_sharpness


def at(t: float, top: float | None, loss: float = 1.0) -> dict[str, float | None]:
    return {"t": t, "top_eigenvalue": top, "trace": None, "sharpness_loss": loss, "hessian_examples": 100}


def test_the_interior_of_a_path_leaves_its_ends_out() -> None:
    found = path_sharpness([at(0.0, 8.0), at(0.25, None), at(0.5, 1.0, 2.0), at(0.75, 3.0), at(1.0, 4.0)])
    assert (found["sharpness_mean"], found["sharpness_interior"], found["sharpness_ends"]) == (4.0, 2.0, 6.0)
    assert found["sharpness_over_loss_interior"] == (0.5 + 3.0) / 2
    assert found["sharpness_over_loss_mean"] == (8.0 + 0.5 + 3.0 + 4.0) / 4


def test_a_path_that_was_measured_at_its_ends_alone_has_no_interior() -> None:
    found = path_sharpness([at(0.0, 8.0), at(1.0, 4.0)])
    assert found["sharpness_mean"] == 6.0
    assert found["sharpness_interior"] is None
    assert found["sharpness_over_loss_interior"] is None
