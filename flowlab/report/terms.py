"""The words of a report, each explained in a sentence or two."""

from __future__ import annotations

TERMS = {
    "Log likelihood, nats per row": (
        "The natural logarithm of the density that a model gives a row, averaged over rows. Higher is better. One "
        "nat more means that a row is 2.7 times as likely. Its level depends on the units of the columns, so compare "
        "models on the same rows alone."
    ),
    "NLL": "The negative log likelihood, the loss of training: minus the log likelihood.",
    "Held-out rows": (
        "Rows that no model has seen in training. All numbers of this report come from the test rows; the validation "
        "rows choose settings."
    ),
    "Standard error": (
        "The typical distance of a mean over these rows from the mean over all possible rows. The standard error of a "
        "difference comes from the differences of the same rows."
    ),
    "Gaussian": "One normal distribution with the mean and the full covariance of the training rows.",
    "Gaussian mixture": (
        "A weighted sum of normal distributions. BIC, the Bayesian information criterion, chooses their number: "
        "-2 log likelihood + parameters * log rows is lowest."
    ),
    "Kernel density": (
        "A small Gaussian around each training row. Its width, the bandwidth, is the one that gives validation rows "
        "the highest likelihood."
    ),
    "Gaussian copula": (
        "Each column has its own smooth distribution, and the columns depend on each other as in a Gaussian."
    ),
    "PIT": (
        "The probability integral transform: the share of generated values below a real value. For a perfect flow it "
        "is uniform between 0 and 1."
    ),
    "Band": (
        "The interval in which a share lies with a probability of 99 % if the flow is perfect. It comes from the "
        "beta-binomial law, which counts the chance in both real and generated rows."
    ),
    "Distance (KS)": (
        "The largest difference of the distribution functions of real and generated values, by Kolmogorov and "
        "Smirnov. It is between 0 and 1."
    ),
    "C2ST": (
        "The classifier two-sample test: a classifier learns to tell real rows from generated ones, and is tested on "
        "other rows. An accuracy of 50 % means that it cannot."
    ),
    "Dependence": "The mutual information of two columns, from tenths of their ranks. It sees more than a correlation.",
}

DENSITY_TERMS = {
    "Target": "The distribution whose log density the run was given, up to a constant, log Z.",
    "ELBO": (
        "The mean of log density - log q over draws of the flow q, in nats. It is a lower bound on log Z. The gap is "
        "the KL divergence KL(q || p), where p is the target."
    ),
    "log Z": (
        "The log of the missing constant; for a posterior, the log evidence. Importance sampling estimates it by the "
        "log of the mean weight."
    ),
    "EUBO": (
        "The same mean over samples of the target, an upper bound on log Z. A log density alone gives no samples; "
        "flowlab.diagnose(flow, target, samples) takes samples of yours."
    ),
    "Weight": "The density of the target over the density of the flow at a draw. Weights correct an imperfect flow.",
    "Effective sample size": "How many draws of the target the weighted draws of the flow are worth, in per cent.",
    "Pareto k": (
        "How heavy the tail of the weights is. Below 0.5 their variance is finite. Above 0.7 a few draws decide "
        "everything, and no weighted number can be trusted."
    ),
    "Weighted": "Draws of the flow with Pareto smoothed weights; in pictures, drawn again by these weights.",
}
