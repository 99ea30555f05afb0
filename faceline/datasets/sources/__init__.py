"""Readers of the sources that a dataset is made of: one a format, and the door through which they read archives."""
