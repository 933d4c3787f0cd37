"""Local learning coefficients of trained networks, and how much they depend on the localization."""
