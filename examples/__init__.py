"""Examples that run: a synthetic city to try the whole pipeline on."""
