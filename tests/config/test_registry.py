"""The registry: groups and names of components, duplicates, and the error for an unknown name."""

import pytest

from flowlab.config.component import Component
from flowlab.config.errors import ConfigError
from flowlab.config.overrides import option_names
from flowlab.config.registry import PACKAGES, lookup, names, register


@pytest.mark.parametrize("group", PACKAGES)
def test_a_component_knows_its_group_and_its_name(group):
    assert names(group)
    for name in names(group):
        component = lookup(group, name)
        assert (component.group, component.name) == (group, name)
        assert component.__module__.startswith(PACKAGES[group])


@pytest.mark.parametrize("group", [group for group in PACKAGES if group != "metric"])
def test_every_component_has_an_option(group):
    """mlp has two options, named after their activations."""
    assert {"mlp": "smooth_prelu"}.keys() >= set(names(group)) - set(option_names(group))


def test_duplicate_name_is_refused():
    with pytest.raises(ValueError, match=r"register\('target', 'banana'\): .*Banana has this name; choose another"):

        @register("target", "banana")
        class Other(Component):
            pass

    assert lookup("target", "banana").__name__ == "Banana"
    register("target", "banana")(lookup("target", "banana"))  # importing a module again registers the same class again


def test_unknown_group_or_name_suggests_the_closest():
    with pytest.raises(ValueError, match=r"no such group; did you mean 'target'\? allowed: flow, target"):
        register("targets", "x")
    with pytest.raises(ConfigError, match=r"target.name='bananna': no such target; did you mean 'banana'\?"):
        lookup("target", "bananna")
