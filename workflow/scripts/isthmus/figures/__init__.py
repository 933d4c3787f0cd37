"""The figures: one module per stage, one function `draw_<figure>` per figure.

This code reads tables only. It never imports torch, so all figures can be drawn again from existing tables in
seconds, on a machine that could not train the networks. Every `draw_` function takes the name of a study and
the whole tables by name, and returns a Matplotlib figure, which its caption in `workflow/report` explains;
`isthmus.figures.style` is what all figures share, and `isthmus.figures.panels` makes panels of a study's grid.
"""
