"""The report of a check for people and machines: terminal, HTML page, JUnit XML, JSON. All show the same values."""

from camara_otp.conformance.reports.data import as_json, as_table
from camara_otp.conformance.reports.junit import as_junit
from camara_otp.conformance.reports.page import as_html

__all__ = ["as_html", "as_json", "as_junit", "as_table"]
