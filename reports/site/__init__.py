"""Whole pages, put together from sections and figures."""
