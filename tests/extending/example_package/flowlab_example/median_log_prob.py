"""A metric: a function of an evaluation."""


def median_log_prob(evaluation):
    """The median of log q over the held-out points, in nats."""
    return float(evaluation.log_prob.median())
