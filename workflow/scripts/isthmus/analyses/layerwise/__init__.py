"""Barriers between two networks when only some of their layers are interpolated."""
