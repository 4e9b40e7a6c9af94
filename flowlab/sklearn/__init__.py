"""A flow as an estimator of scikit-learn."""

from flowlab.sklearn.density import FlowDensity as FlowDensity

__all__ = ["FlowDensity"]
