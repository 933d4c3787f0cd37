"""What a study can ask for beyond trained networks: one package per analysis."""
