"""The DAG files. They name, order and schedule the stages; all work is in `pipelines`."""
