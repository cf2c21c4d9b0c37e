"""Comparisons that anybody can run again: a plan in TOML, its runs, and what they decide."""
