"""Accuracy on corrupted and shifted test images."""
