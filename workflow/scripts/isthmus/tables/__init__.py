"""Parquet tables with a schema that describes every column."""
