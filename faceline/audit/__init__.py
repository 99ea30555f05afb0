"""Auditing profiles: does a picture bear out the age and the gender that its profile states."""
