"""The moving picture of the README begins at the base, ends at the flow's density, and refuses other runs."""

import numpy as np
import pytest
import readme_animation
import torch
from PIL import Image

import flowlab

SHORT = ("max_steps=2", "test_size=50", "validation_size=50", "trainer.progress=off", "flow.depth=2")


def run(directory, *words):
    return flowlab.train(flowlab.compose(*SHORT, *words), directory)


@pytest.fixture(scope="module")
def banana(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "banana")


def test_points_go_from_the_base_to_the_flow(banana):
    points, rings = readme_animation.trace(banana, 500, seed=0)
    assert len(points) == len(rings) == 4  # before the flow, and after two affine maps with an activation between
    np.testing.assert_allclose(np.linalg.norm(rings[0], axis=-1).mean(axis=1), [1, 2, 3], rtol=1e-5)
    with torch.no_grad():
        mapped = banana.flow.bijector(torch.as_tensor(points[0]))
    np.testing.assert_allclose(points[-1], mapped, rtol=1e-4, atol=1e-5)
    frames = list(readme_animation.moments(points, rings, between=2))
    assert len(frames) == 3 * 2 + 1
    np.testing.assert_array_equal(frames[0].points, points[0])
    np.testing.assert_allclose(frames[1].points, (points[0] + points[1]) / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(frames[-1].points, points[-1])


def test_the_picture_is_an_animation(banana, tmp_path, capsys):
    output = tmp_path / "new" / "a.gif"
    words = [str(banana.directory), "--output", str(output), "--samples", "2000", "--between", "1"]
    assert readme_animation.main(words) == 0
    assert capsys.readouterr().out.startswith(f"{output}: 4 frames, ")
    with Image.open(output) as picture:
        assert picture.n_frames == 4
        assert picture.info["duration"] > 1000, "the base is shown for longer than a second"


def test_a_run_outside_the_plane_is_refused(tmp_path, capsys):
    run(tmp_path / "run", "target=gaussian", "target.mean=[0,0,0]", "target.factor=[[1,0,0],[0,1,0],[0,0,1]]")
    assert readme_animation.main([str(tmp_path / "run")]) == 2
    assert "not (2,) without a context; choose a run in the plane" in capsys.readouterr().err
