"""Benchmarks against other density estimators; run by hand, never by the test suite."""
