"""What can go wrong: the errors, and the table of their codes."""

from app.errors.base import PortalError, SettingsError
from app.errors.catalog import N_, PROBLEMS, Problem

__all__ = ["N_", "PROBLEMS", "PortalError", "Problem", "SettingsError"]
