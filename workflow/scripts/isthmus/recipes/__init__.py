"""One cell of a study as a value: its data, network, training, pairs, learning-rate schedule and name."""
