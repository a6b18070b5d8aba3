"""Ours against silicon and published tables: suites of rows, with every error and nothing left out.

A suite is a module of ``accelsim.validation.suites`` that has a ``SUITE``; its name is the module's.
"""

from accelsim.validation.catalogue import load_suite, run_suites, suite_names
from accelsim.validation.measured import data_folder, read_rows
from accelsim.validation.rows import Row, Suite, broken, summary

__all__ = ["Row", "Suite", "broken", "data_folder", "load_suite", "read_rows", "run_suites", "suite_names", "summary"]
