"""How good is a flow as an approximation of a density? Bounds on log Z, importance weights, tails and modes.

`flowlab.diagnose(flow, target)` makes all checks in one call. Each check is also a function of arrays:

- `importance`: the bounds ELBO and EUBO, log Z, and effective sample sizes, from log weights;
- `pareto`: the tail index of the weights, which says whether the estimates can be trusted;
- `tails`: how much of the target lies where the flow puts little;
- `modes`: how much of the flow's mass each mode has.
"""
