import torch

from flowlab.seeding import _mix, generator


def draw(*arguments):
    return torch.rand(4, generator=generator(*arguments))


def test_the_same_arguments_give_the_same_numbers():
    assert torch.equal(draw(3, "train", 7), draw(3, "train", 7))


def test_seed_purpose_and_step_each_matter():
    reference = draw(3, "train", 7)
    for other in (draw(4, "train", 7), draw(3, "test", 7), draw(3, "train", 8)):
        assert not torch.equal(reference, other)


def test_no_two_steps_share_a_state():
    """torch's CPU generator reads 32 bits of its seed; these are a bijection of the step."""
    seeds = {generator(0, "train", step).initial_seed() & 0xFFFFFFFF for step in range(20_000)}
    assert len(seeds) == 20_000
    # Each operation of the mix can be undone, so that it is a bijection of 32 bits; here on a sample.
    assert len({_mix(value * 65_537 & 0xFFFFFFFF) for value in range(65_536)}) == 65_536


def test_a_stream_does_not_depend_on_the_global_one():
    first = draw(0, "train", 0)
    torch.manual_seed(99)
    torch.rand(10)
    assert torch.equal(first, draw(0, "train", 0))
