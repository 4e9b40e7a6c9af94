"""The simulators that `target.task` chooses from: a prior of parameters, and a program that draws data given them.

A module here, or an installed package through the entry points `flowlab.targets.tasks`, adds one by one registration.
"""
