"""Tests mirror the tree; tests/e2e holds the slow ones that run the pipeline."""
