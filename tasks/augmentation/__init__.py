"""Search for augmentation policies: which operations, how likely, how strong."""
