"""How sensitive networks are to disturbed weights and to corrupted images while they train."""
