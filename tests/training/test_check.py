"""What can be refused before a run begins; the sizes and names that do not fit are with the configuration."""

import pytest
from flowlab.training.check import check_run

from flowlab import ConfigError, compose


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer=ddp_cpu", "batch_size=63"], "batch_size=63: is shared by 2 processes, .* must be a multiple"),
        (["objective=reverse_kl", "target=gaussian", "target.train_size=5"], "target.train_size: .*leave it null"),
        (["trainer.precision=bf16-mixed", "dtype=float64"], "trainer.precision=bf16-mixed: .*use dtype=float32"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_does_not_fit_is_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        check_run(compose(*words))


def test_what_fits_gives_the_target():
    assert check_run(compose("trainer=ddp_cpu", "batch_size=64", "target=funnel", "target.dim=3")).dim == 3
