"""Every property of `flowlab.testing` on every example bijector, in both precisions."""

import pkgutil
from importlib import import_module

import pytest
import torch
from conformance.tables import CONDITIONAL, EXEMPT, INITIAL, INVALID, NAMES

from flowlab import bijectors
from flowlab.bijectors import Bijector, stages
from flowlab.bijectors.examples import DIM, EXAMPLES
from flowlab.testing import PROPERTIES
from flowlab.testing.check import find
from flowlab.testing.subject import Subject

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def make_subject(name, each, dtype):
    """Return an example; for the property `initial`, with its documented initialization."""
    make, context_dim = CONDITIONAL[name] if name in CONDITIONAL else (EXAMPLES[name], None)
    initial = None
    if each.name == "initial" and name in INITIAL:
        make, initial = INITIAL[name]
    return Subject(make(), dtype, DIM, context_dim, initial, INVALID.get(name, {}))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("each", PROPERTIES, ids=lambda each: each.name.replace(" ", "-"))
@pytest.mark.parametrize("name", NAMES)
def test_property(name, each, dtype, record_property):
    if (name, each.name) in EXEMPT:
        return
    finding = find(each, make_subject(name, each, DTYPES[dtype]))
    if finding.holds is not None:
        record_property("cell", (name, each.number, dtype))
    assert finding.holds is not False, finding.detail


def test_every_bijector_has_an_example():
    """Checks the names that flowlab.bijectors lists and every public class in its modules."""
    modules = [import_module(each.name) for each in pkgutil.iter_modules(bijectors.__path__, "flowlab.bijectors.")]
    public = {getattr(bijectors, name) for name in bijectors.__all__}
    public |= {each for module in modules for each in vars(module).values() if is_public_in(each, module.__name__)}
    classes = {c for c in public if isinstance(c, type) and issubclass(c, Bijector) and c is not Bijector}
    examples = [*EXAMPLES.values(), *(make for make, _ in CONDITIONAL.values())]
    shown = {type(stage) for make in examples for stage in [make(), *stages(make())]}
    assert classes <= shown


def is_public_in(each, module):
    return getattr(each, "__module__", None) == module and not each.__name__.startswith("_")


def test_tables_name_existing_examples():
    assert {*INITIAL, *INVALID, *(name for name, _ in EXEMPT)} <= {*NAMES}
