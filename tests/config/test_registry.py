"""The registry: what can be registered, under which names, and the answer where there is none."""

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
def test_a_component_can_be_chosen(group):
    """Each has an option; mlp has two, by the names of their activations."""
    assert {"mlp": "smooth_prelu"}.keys() >= set(names(group)) - set(option_names(group))


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match=r"register\('target', 'banana'\): .*Banana has this name; choose another"):

        @register("target", "banana")
        class Other(Component):
            pass

    assert lookup("target", "banana").__name__ == "Banana"
    register("target", "banana")(lookup("target", "banana"))  # a module that is imported again registers itself again


def test_an_unknown_group_or_name_is_answered_with_the_closest():
    with pytest.raises(ValueError, match=r"no such group; did you mean 'target'\? allowed: flow, target"):
        register("targets", "x")
    with pytest.raises(ConfigError, match=r"target.name='bananna': no such target; did you mean 'banana'\?"):
        lookup("target", "bananna")
