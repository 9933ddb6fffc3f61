"""Tests of one file stay in one worker, and all that need Airflow in the same one: each worker would start its own."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = "airflow" if item.get_closest_marker("airflow") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
