"""The synthetic sample: the face renderer, the faults, the archives that hold them."""
