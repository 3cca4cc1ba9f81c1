"""Architecture search: which operations a network is made of, and how they are connected."""
