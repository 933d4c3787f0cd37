"""How sensitive networks are to perturbed weights and to corrupted images while they train."""
