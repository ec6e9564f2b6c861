"""Benchmarks: Kissa, copyparty and nginx on one machine in one run; see docs/performance.md."""
