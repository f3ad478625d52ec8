"""Tests of phone numbers, messages, telemetry and notebooks."""
