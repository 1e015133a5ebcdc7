"""Checkpoints with random weights: the real classes in small, built by code in a second each.

Their clips are noise and their shapes are those of the real models. They live in the folders of
tests alone; no card of the product names one.
"""
