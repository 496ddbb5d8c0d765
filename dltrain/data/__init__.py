"""Sources of examples, splits, the order of batches, preprocessing and augmentation."""
