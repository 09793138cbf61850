"""Measurements of anysched beside its peers: `python -m benchmarks --help`."""

from __future__ import annotations
