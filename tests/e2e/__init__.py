"""End to end: the pipeline through DVC, in copies of the project with a shrunken sample."""
