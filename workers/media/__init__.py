"""Frames to files: label, encode, stills, and reading back what was written."""
