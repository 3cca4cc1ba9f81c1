"""Search for segmentation heads: dense prediction cells between a backbone and the classifier of pixels."""

import os

# Else albumentations asks for newer releases of itself wherever it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
