"""A VAE is trained by flowlab.fit, in stacks and by Lightning; resumed, saved and loaded it is the same."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

import flowlab
from flowlab.density.fit_many import fit_many
from flowlab.training.lightning import LossModule
from flowlab.vae import active_units, build_vae, estimate_bounds, load_images, load_vae, save_vae

QUIET = {
    "progress": "off",
    "lr": 0.005,
    "batch_size": 32,
    "validate_every": 20,
    "log_every": 20,
    "checkpoint_every": 20,
}
SIZES = {"pixels": 64, "latent": 3, "hidden": [16], "context": 8}
POSTERIORS = {
    "diagonal": {},
    "full": {"covariance": "full"},
    "planar": {"flow": "planar", "options": {"depth": 2}},
    "iaf": {"flow": "iaf", "options": {"depth": 2, "hidden": [8]}},
    "iaf, path gradient": {"flow": "iaf", "options": {"depth": 2, "hidden": [8]}, "gradient": "path"},
    "coupling": {"flow": "realnvp", "options": {"depth": 2, "hidden": [8]}},
    "spline": {"flow": "nsf", "options": {"depth": 2, "hidden": [8], "bins": 4}},
    "flow prior": {"prior": "realnvp", "prior_options": {"depth": 2, "hidden": [8]}},
}


@pytest.fixture(scope="module")
def images():
    return load_images("digits")


def weights(module):
    return torch.cat([tensor.flatten() for tensor in module.state_dict().values()])


def fit(vae, images, steps=60, seed=0, **settings):
    return flowlab.fit(vae, images.train, validation=images.validation, steps=steps, seed=seed, **QUIET | settings)


def test_training_raises_the_elbo_and_uses_units(images):
    vae = build_vae(**SIZES, flow="planar", options={"depth": 2})
    before = estimate_bounds(vae, images.test, 20).elbo.mean()
    result = fit(vae, images, steps=300)
    after = estimate_bounds(vae, images.test, 20)
    assert after.elbo.mean() > before + 10
    assert (after.elbo <= after.log_prob).all()
    assert active_units(vae, images.test).any()
    assert result.best_step > 200
    assert result.history["validation_loss"].iloc[-1] == pytest.approx(-float(after.elbo.mean()), abs=1.5)


@pytest.mark.parametrize("name", POSTERIORS)
def test_a_resumed_training_has_the_same_bits(name, images, tmp_path):
    whole, part = (build_vae(**SIZES, **POSTERIORS[name]) for _ in range(2))
    fit(whole, images, directory=tmp_path / "whole")
    with pytest.raises(InterruptedError):  # in the middle of a step, after the checkpoint of step 40
        stop_at(part, 50, lambda: fit(part, images, directory=tmp_path / "part"))
    resumed = build_vae(**SIZES, **POSTERIORS[name])
    result = fit(resumed, images, directory=tmp_path / "part")
    assert result.steps == 60
    assert torch.equal(weights(whole), weights(resumed))


def stop_at(vae, step, train):
    """Train until the loss of a step is computed, and raise an error there."""
    loss, calls = vae.loss, []

    def failing(x, noise):
        calls.append(len(x))
        if calls.count(QUIET["batch_size"]) > step:
            raise InterruptedError
        return loss(x, noise)

    vae.loss = failing
    train()


@pytest.mark.parametrize("name", POSTERIORS)
def test_a_stack_equals_single_trainings(name, images):
    stacked, single = (
        [build_vae(**SIZES, **POSTERIORS[name], seed=seed).double() for seed in (3, 4)] for _ in range(2)
    )
    results = fit_many(stacked, images.train, seeds=[3, 4], validation=images.validation, steps=40, **QUIET)
    for vae, alone, seed, result in zip(stacked, single, (3, 4), results, strict=True):
        expected = fit(alone, images, steps=40, seed=seed)
        for column in ("loss", "validation_loss", "grad_norm"):
            assert result.rows[40][column] == pytest.approx(expected.rows[40][column], rel=1e-6), column
        assert result.best_step == expected.best_step
        bounds, of_alone = (estimate_bounds(each, images.test[:20], 5) for each in (vae, alone))
        torch.testing.assert_close(bounds.elbo, of_alone.elbo, rtol=1e-6, atol=0)


def test_noise_differs_from_step_to_step_and_seed_to_seed(images):
    seen = []

    def record(vae, seed):
        loss = vae.loss
        vae.loss = lambda x, noise: (seen.append(noise), loss(x, noise))[1]
        fit(vae, images, steps=3, seed=seed)

    for seed in (0, 0, 1):
        record(build_vae(**SIZES), seed)
    of_steps = [noise for noise in seen if len(noise) == QUIET["batch_size"]]
    first, again, other = of_steps[:3], of_steps[3:6], of_steps[6:]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("name", POSTERIORS)
def test_a_saved_vae_is_loaded_with_all_its_parameters(name, images, tmp_path):
    vae = build_vae(**SIZES, **POSTERIORS[name])
    with torch.no_grad():  # every parameter, those of the amortised layers too
        for parameter in vae.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    save_vae(tmp_path / "vae.ckpt", vae)
    loaded = load_vae(tmp_path / "vae.ckpt")
    assert loaded.settings == vae.settings
    for expected, found in zip(
        (estimate_bounds(vae, images.test[:50], 10), vae.sample(3, torch.Generator().manual_seed(0))),
        (estimate_bounds(loaded, images.test[:50], 10), loaded.sample(3, torch.Generator().manual_seed(0))),
        strict=True,
    ):
        assert torch.equal(getattr(expected, "elbo", expected), getattr(found, "elbo", found))


@pytest.mark.parametrize("content", [b"", b"not an archive"])
def test_a_file_that_is_no_vae_is_named(content, tmp_path):
    path = tmp_path / "vae.ckpt"
    path.write_bytes(content)
    with pytest.raises(flowlab.ConfigError, match=r"vae.ckpt: is damaged, or was not written by save_vae"):
        load_vae(path)
    with pytest.raises(flowlab.ConfigError, match="missing.ckpt: cannot be read: No such file"):
        load_vae(tmp_path / "missing.ckpt")


def test_lightning_trains_a_vae(images):
    vae = build_vae(**SIZES, flow="iaf", options={"depth": 2, "hidden": [8]})
    before = estimate_bounds(vae, images.test, 5).elbo.mean()
    loader = DataLoader(images.train, batch_size=100)
    options = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = pl.Trainer(max_epochs=4, accelerator="cpu", enable_checkpointing=False, **options)
    trainer.fit(LossModule(vae, lr=0.01), loader)
    assert trainer.callback_metrics["train_loss"] < 45
    assert estimate_bounds(vae, images.test, 5).elbo.mean() > before + 5


def test_contexts_of_the_data_are_refused(images):
    message = "context: VAE draws noise, which its loss gets in place of a context; leave it out"
    with pytest.raises(flowlab.ConfigError, match=message):
        flowlab.fit(build_vae(**SIZES), images.train, context=images.train[:, :1], steps=2, **QUIET)
