"""Many bijectors compiled to C++ in one graph. The faster conformance property `compiled` only traces them."""

import pytest
import torch
from torch import nn

from flowlab.bijectors.examples import DIM, EXAMPLES
from flowlab.testing.behaviour import BothWays
from flowlab.testing.subject import Subject, forward

SLOW = (
    "Planar",
    "from_transform",
    "Chain",
    "Inline",
    "DiscreteCosineTransform",
    "Invert F",
)  # slow to compile
NAMES = [name for name in EXAMPLES if not name.startswith(SLOW)]


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_bijectors_compiled_to_cpp_equal_eager_ones(fresh_compiler):
    samples = [Subject(EXAMPLES[name](), torch.float64, DIM).many(16) for name in NAMES]
    maps = nn.ModuleList(BothWays(sample.bijector) for sample in samples)
    points = [(sample.x, forward(sample)[0].detach()) for sample in samples]

    def map_all(points):
        return [both(x, y) for both, (x, y) in zip(maps, points, strict=True)]

    with torch.no_grad():
        results = torch.compile(map_all, fullgraph=True)(points)
        for compiled, eager in zip(results, map_all(points), strict=True):
            for value, expected in zip(compiled, eager, strict=True):
                torch.testing.assert_close(value, expected, rtol=1e-13, atol=1e-13)
