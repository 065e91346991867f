"""The fault layer."""
