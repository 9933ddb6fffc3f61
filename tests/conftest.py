"""For all tests: hypothesis sets no deadline per example. How long something takes is measured in benchmarks/, never in a test."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")
