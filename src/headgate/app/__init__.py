"""The composition root: configuration -> plan -> contexts -> a process that serves."""

from headgate.app.prepare import Prepared, StartError, prepare
from headgate.app.process import App

__all__ = ["App", "Prepared", "StartError", "prepare"]
