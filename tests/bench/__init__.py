"""Benchmarks: commands that print ratios against a named alternative in the same run."""
