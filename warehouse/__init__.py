"""How tables are stored: a DuckLake of Parquet files with a SQLite catalogue, and the one way to commit to it."""
