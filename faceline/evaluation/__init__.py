"""Metrics, slices and figures."""
