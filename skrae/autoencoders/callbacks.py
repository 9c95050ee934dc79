"""Progress of a fit, for scikit-learn's callbacks (1.9 and later) and for verbose."""

from skrae.preprocessing.contract.processes import current

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
    from sklearn.callback import with_callbacks
except ImportError:  # scikit-learn < 1.9

    class CallbackSupport:
        """Stands in for scikit-learn's mixin: there are no callbacks to support."""

    def with_callbacks(method):
        """Stands in for scikit-learn's decorator."""
        return method


class FitReport:
    """Tells callbacks and the console how a fit proceeds; a callback may end it.

    Parameters
    ----------
    estimator : the estimator that is being fitted
    X : array-like, the rows it is fitted to
    n_checks : int, validations expected at most
    """

    def __init__(self, estimator, X, n_checks):
        self.estimator, self.X = estimator, X
        self.context = None
        if hasattr(estimator, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=n_checks)
            self.context.call_on_fit_task_begin(estimator=estimator, X=X)

    def tell(self, message):
        """Print one line where verbose asks for it, of processes that fit together in the first."""
        if self.estimator.verbose and current().rank == 0:
            name = type(self.estimator).__name__
            print(f"[{name}] {message}", flush=True)  # noqa: T201 - what verbose asks for

    def check(self, message):
        """Report one validation; true where a callback asks to stop."""
        self.tell(message)
        if self.context is None:
            return False
        task = self.context.subcontext(task_name="check")
        task.call_on_fit_task_begin(estimator=self.estimator, X=self.X)
        return bool(task.call_on_fit_task_end(estimator=self.estimator, X=self.X))

    def end(self):
        """Report the end of the fit, once the estimator holds what was fitted."""
        if self.context is not None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator, X=self.X, reconstruction_attributes={}
            )
