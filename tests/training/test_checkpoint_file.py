"""A checkpoint that is damaged is refused, wherever the damage is."""

import random

import pytest
import torch

from flowlab.training.checkpoint_file import read_checkpoint, write_checkpoint

CONTENT = {"state_dict": {"weight": torch.arange(12.0).view(3, 4)}, "global_step": 7}


def same(checkpoint):
    weights = checkpoint["state_dict"]["weight"], CONTENT["state_dict"]["weight"]
    return torch.equal(*weights) and checkpoint["global_step"] == 7


@pytest.fixture
def path(tmp_path):
    write_checkpoint(tmp_path / "last.ckpt", CONTENT)
    return tmp_path / "last.ckpt"


def test_it_is_read_as_it_was_written_by_torch_too(path):
    assert same(read_checkpoint(path))
    assert same(torch.load(path, weights_only=True))


def test_one_of_before_there_were_sums_of_the_whole_is_read(path):
    torch.save(CONTENT, path)
    assert same(read_checkpoint(path))
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor(11.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert not same(torch.load(path, weights_only=True)), "torch notices it now"
    with pytest.raises(ValueError, match="not what was written"):
        read_checkpoint(path)


def test_no_flipped_bit_gives_other_weights(path):
    content, draw = path.read_bytes(), random.Random(0)
    refused = 0
    for place in draw.sample(range(8 * len(content)), 400):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert same(read_checkpoint(path))
        except ValueError:
            refused += 1
    assert refused > 380


def test_no_part_is_a_checkpoint(path):
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError):  # noqa: PT011  each reader has its own words
            read_checkpoint(path)
