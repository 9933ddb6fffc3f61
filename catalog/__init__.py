"""What exists and what it should look like: contracts, entities, code tables, lineage. Imports no other layer."""
