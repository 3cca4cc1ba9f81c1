"""Channel pruning: how many channels each layer of a trained network keeps (AMC)."""
