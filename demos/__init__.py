"""Short shows of what the pipeline does, each one command of the Makefile."""
