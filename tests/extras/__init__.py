"""Tests of what stands beside the client: phone numbers, messages, telemetry."""
