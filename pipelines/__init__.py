"""What Prefect runs: flows around DVC, and how they are deployed. Nothing here knows about faces."""
