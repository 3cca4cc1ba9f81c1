"""Search for augmentation policies: which operations, how likely, how strong."""

import os

# Else albumentations asks for newer releases of itself wherever it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
