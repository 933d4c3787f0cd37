"""Parquet tables with a schema in which every column is described."""
