"""faceline: a face age, gender and race pipeline. The wings: datasets, faces, learning, evaluation, audit, gates."""
