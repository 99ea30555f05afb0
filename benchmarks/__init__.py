"""What the project takes: seconds and memory. Figures, with machine and date, are in docs/results.md."""
