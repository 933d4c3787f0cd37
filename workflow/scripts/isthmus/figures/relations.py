"""The figures of relations: correlations with generalization, flatness against paths, effects of axes, and saturation.

All have a line for every quantity, in the same order, with rules between the groups.
"""

from isthmus.figures.relations_effects import draw_effects as draw_effects
from isthmus.figures.relations_effects import shown_in_effects as shown_in_effects
from isthmus.figures.relations_matrices import draw_correlations as draw_correlations
from isthmus.figures.relations_matrices import draw_path_relations as draw_path_relations
from isthmus.figures.relations_matrices import shown_in_correlations as shown_in_correlations
from isthmus.figures.relations_matrices import shown_in_path_relations as shown_in_path_relations
from isthmus.figures.relations_saturation import draw_saturation as draw_saturation
from isthmus.figures.relations_saturation import shown_in_saturation as shown_in_saturation
