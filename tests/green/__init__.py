"""Calls under gevent and eventlet."""
