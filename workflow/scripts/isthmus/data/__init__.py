"""Images and labels: where they come from, prepared data sets, subsets, augmentation and corruptions."""
