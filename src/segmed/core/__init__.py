"""Values that every other part shares: images, masks, labels, records, splits and errors. Numpy only."""
