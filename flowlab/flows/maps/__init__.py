"""The maps that `flow.map` chooses from: functions that build a map of `flowlab.bijectors.maps` from a flow's settings.

A module here, or an installed package through the entry points `flowlab.flows.maps`, adds one by one registration.
"""
