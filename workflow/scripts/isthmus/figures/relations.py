"""The figures of relations."""
