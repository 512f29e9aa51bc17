"""Plumbing that every room may use: files, options, signals, versions."""
