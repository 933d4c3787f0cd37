"""One cell of a study as a value: its data, network and training, its pairs, its schedule and its name."""
