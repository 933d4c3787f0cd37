"""Panels, axes and looks are the same in all figures, and figures are saved as PDF or PNG."""

from pathlib import Path

import pytest
from invented_training import frames
from matplotlib.figure import Figure

from isthmus.figures import style
from isthmus.figures.axes import decade_axis, plain, power
from isthmus.figures.looks import KINDS, looks_of
from isthmus.figures.panels import panels_of, rows_of


def test_panels_are_ordered_as_numbers_and_keep_every_row() -> None:
    extra = [{"train_size": size} for size in (1000, 200, 50)]
    networks = rows_of("digits", frames(widths=[8], depths=[1], seeds=1, extra=extra), "networks")
    blocks = panels_of(networks, ["batch_size"])
    assert [[panel.title.split("\n")[0] for panel in block] for block in blocks] == [
        [f"train size {size}"] * 2 for size in (50, 200, 1000)
    ]
    assert sum(len(panel.rows) for block in blocks for panel in block) == len(networks)


@pytest.mark.parametrize("low", [9.2, 3e-5, 0.11, 0.95])
@pytest.mark.parametrize("span", [1.02, 1.7, 3.0, 8.0, 60.0, 1e6])
def test_a_log_axis_has_labels_however_little_it_spans(low: float, span: float) -> None:
    axis = Figure().add_subplot().yaxis
    decade_axis(axis, [low, low * span])
    bottom, top = axis.get_view_interval()
    labels = [axis.get_major_formatter()(tick) for tick in axis.get_majorticklocs() if bottom <= tick <= top]
    assert 2 <= len(labels) <= 8
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) <= 20


@pytest.mark.parametrize("axis", ["width", "depth", "batch_size", "layer"])
def test_values_of_an_axis_are_told_apart(axis: str) -> None:
    values = [1, 2, 8, 14, 20]
    looks = looks_of(axis, values).values()
    assert len({look.colour for look in looks}) == len({(look.marker, look.line) for look in looks}) == len(values)
    assert looks_of("depth", [1, 2])[1] == looks_of("depth", [1, 3, 8])[1]


@pytest.mark.parametrize(
    "found", [list(KINDS)[:6], list(KINDS)[6:9], list(KINDS)[9:]], ids=["paths", "layers", "pruned networks"]
)
def test_kinds_are_told_apart(found: list[str]) -> None:
    looks = [KINDS[kind] for kind in found]
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == len(found)


def test_numbers_are_written_plainly() -> None:
    written = [plain(value) for value in (0.01, 0.5, 1, 512, 1000, 1024, 16384, 20000, 1.5e6)]
    assert written == ["0.01", "0.5", "1", "512", "1k", "1024", "16384", "20k", "1.5M"]
    assert power(1e-5) == "$10^{-5}$"


def test_figures_are_saved_as_pdf_or_png_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="saved as"):
        style.save(style.new_figure(1, 1), [tmp_path / "figure.svg"])
    assert list(tmp_path.iterdir()) == []
