"""The stages that move a batch, one verb per file, and the rules that clean it."""
