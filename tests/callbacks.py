"""What tests of scikit-learn's callbacks need."""

import importlib.util

import pytest

HAS_CALLBACKS = importlib.util.find_spec("sklearn.callback") is not None
needs_callbacks = pytest.mark.skipif(not HAS_CALLBACKS, reason="callbacks are of scikit-learn 1.9")
HAS_RICH = importlib.util.find_spec("rich") is not None


class Recorder:
    """A callback that counts tasks, and stops or interrupts at one of them."""

    def __init__(self, stop_at=None, interrupt_at=None):
        self.stop_at, self.interrupt_at = stop_at, interrupt_at
        self.events, self.fitted = [], None

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        self.fitted = fitted_estimator
        if context.task_name != "check":
            return False
        n_checks = self.events.count("end check")
        if n_checks == self.interrupt_at:
            raise KeyboardInterrupt
        return n_checks == self.stop_at
