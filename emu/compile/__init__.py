"""What is compiled on demand: with which compiler, from which sources, and where it is kept."""
