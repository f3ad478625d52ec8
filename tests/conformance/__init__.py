"""Tests of the check of an operator: what it judges, what it costs, how it reports."""
