"""What DVC runs: one file a stage, named as in dvc.yaml."""
