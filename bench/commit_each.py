"""Kissa as it would be with a commit for each request, to measure what sharing commits brings."""

import writer
from app import create_app

__all__ = ["create_app"]

writer.MOST = 1
