"""Networks, losses, training, and the bundle that everything else uses."""
