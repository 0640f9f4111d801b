"""Networks, one per file, and the bundles that carry them."""
