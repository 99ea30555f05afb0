"""MTCNN with the weights and the decisions of the `mtcnn` package (1.0.0), for many pictures at once."""
