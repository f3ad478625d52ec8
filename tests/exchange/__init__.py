"""Tests of the package that imports HTTP libraries."""
