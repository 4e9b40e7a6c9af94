"""The ledger's references, computed without flowlab: no claim is compared with the code under test."""

import ast
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
from scipy.integrate import quad

from flowlab.claims import load_ledger

NORMAL = scipy.stats.norm()
X = np.array([0.0, 0.5, 1.0])


def norm_moments(dim):
    mean = np.sqrt(2) * np.exp(scipy.special.gammaln((dim + 1) / 2) - scipy.special.gammaln(dim / 2))
    return mean, np.sqrt(dim - mean**2)


def mutual_information_of_the_banana():
    """Return the entropy of x1 = x2^2 / 4 + noise minus the entropy of the noise, by sums on grids of step 0.05."""
    x1, x2 = np.arange(-9, 200, 0.05), np.arange(-36, 36, 0.05)
    density = NORMAL.pdf(x1[:, None] - x2**2 / 4) @ scipy.stats.norm(scale=4).pdf(x2) * 0.05
    return scipy.special.entr(density).sum() * 0.05 - NORMAL.entropy()


INDEPENDENT = {
    ("K1", "median"): lambda: scipy.stats.expon(scale=2).median(),
    ("K1", "mean"): lambda: scipy.stats.expon(scale=2).mean(),
    ("K3", "directly"): lambda: NORMAL.logpdf(2.01),
    ("K3", "by_the_bijector"): lambda: NORMAL.logpdf(2.01),
    ("K4", "mass"): lambda: quad(scipy.stats.lognorm(1).pdf, 0, np.inf)[0],
    ("K5", "base"): lambda: NORMAL.logpdf(X),
    ("K5", "transformed"): lambda: scipy.stats.norm(scale=2).logpdf(2 * X),
    ("K6", "base"): lambda: NORMAL.cdf(X),
    ("K6", "transformed"): lambda: scipy.stats.norm(scale=2).cdf(2 * X),
    ("J1", "inside"): lambda: scipy.stats.uniform(1, 2).pdf(2.5),
    ("J1", "outside"): lambda: scipy.stats.uniform(1, 2).pdf(3.5),
    ("J1", "area"): lambda: quad(scipy.stats.uniform(1, 2).pdf, 1, 3)[0],
    ("J3", "area"): lambda: abs(np.linalg.det([[2, 0.5], [0.3, 1]])),
    ("J3", "image_of_0_1"): lambda: np.array([0, 1]) @ np.array([[2, 0.5], [0.3, 1]]),
    ("J3", "image_of_1_1"): lambda: np.array([1, 1]) @ np.array([[2, 0.5], [0.3, 1]]),
    ("J7", "mean_x1"): lambda: scipy.stats.norm(scale=4).expect(lambda x: x**2 / 4),
    ("J7", "variance_x1"): lambda: 1 + scipy.stats.norm(scale=4).expect(lambda x: (x**2 / 4 - 4) ** 2),
    ("J7", "mean_x2"): lambda: 0.0,
    ("J7", "variance_x2"): lambda: 4.0**2,
    ("J7", "entropy"): lambda: scipy.stats.norm(scale=4).entropy() + NORMAL.entropy(),
    ("J18", "mean_at_1"): lambda: norm_moments(1)[0],
    ("J18", "mean_at_10"): lambda: norm_moments(10)[0],
    ("J18", "mean_at_100"): lambda: norm_moments(100)[0],
    ("J18", "mean_at_1000"): lambda: norm_moments(1000)[0],
    ("J18", "deviation_at_1000"): lambda: norm_moments(1000)[1],
    ("J20a", "estimate"): lambda: scipy.stats.norm(scale=4).expect(lambda x: x**2 / 4),
    ("J20d", "entropy"): lambda: scipy.stats.norm(scale=4).entropy() + NORMAL.entropy(),
    ("J20d", "mutual_information"): mutual_information_of_the_banana,
    ("J20d", "mean_x1"): lambda: scipy.stats.norm(scale=4).expect(lambda x: x**2 / 4),
    ("J20d", "mean_x2_squared"): lambda: 4.0**2,
    ("J22", "gradient_of_the_shift"): lambda: 2 * 1.0,
    ("J22", "gradient_of_the_scale"): lambda: 2 * 2.0,
}
# References by definition: a limit, no difference, the count of all runs, yes or no.
BY_DEFINITION = {0.0, 1.0, 16}


@pytest.mark.parametrize(("id", "name"), INDEPENDENT, ids=lambda value: value)
def test_references_agree_with_closed_forms(id, name):
    quantity = next(each for each in load_ledger().claim(id).quantities if each.name == name)
    assert quantity.references == pytest.approx(np.atleast_1d(INDEPENDENT[id, name]()), abs=1e-6)


def test_every_reference_is_checked_here():
    for claim in load_ledger().claims.values():
        for quantity in claim.quantities:
            if quantity.decides and (claim.id, quantity.name) not in INDEPENDENT:
                assert set(quantity.references) <= BY_DEFINITION, f"{claim.id}: {quantity.name}"


def test_the_ledger_module_computes_nothing():
    """References are literals of a data file, and its reader imports nothing that could compute one."""
    source = Path(__file__).parent.parent.parent / "flowlab" / "claims" / "ledger.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not {module for module in modules if module and module.startswith(("flowlab", "torch", "numpy"))}
