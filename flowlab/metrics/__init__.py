"""Metrics: numbers that a flow's held-out points give.

A metric is a function of an `Evaluation`, registered under the name of its column:

    @register("metric", "worst_log_prob")
    def worst_log_prob(evaluation):
        return float(evaluation.log_prob.min())

It gives None where it is not defined, as a KL divergence without a known density. One that needs the density of the
target is declared by `needs_density`.
"""
