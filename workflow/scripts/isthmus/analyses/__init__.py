"""What a study can ask for beyond its trained networks: one package for each analysis."""
