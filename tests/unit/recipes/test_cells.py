"""Names of cells are names of folders, whatever the axes are."""

import pytest

from isthmus.recipes.cells import cell_name


def test_a_name_spells_the_axes_out() -> None:
    axes = {"batch_size": 32, "width": 8, "nesterov": True, "depth": 1, "train_size": None}
    assert cell_name(axes) == "width=8+depth=1+batch_size=32+nesterov=true+train_size=none"


@pytest.mark.parametrize("value", [300 * "x", "a/b", "a,b", "a b", "..", "\n", "Größe"])
def test_a_name_that_no_folder_may_have_is_abridged_and_stays_its_own(value: str) -> None:
    name = cell_name({"width": 8, "activation": value})
    assert len(name.encode()) <= 255
    assert not set("/,{} \n") & set(name)
    assert name.isascii()
    assert name == cell_name({"activation": value, "width": 8})
    assert name != cell_name({"width": 8, "activation": value + value})
