"""Whole engines on a virtual clock: random pipelines, random trouble, and the laws after each."""
