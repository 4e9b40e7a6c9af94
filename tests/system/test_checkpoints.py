"""A checkpoint with any damage is refused, and a stranger's checkpoint runs no code."""

import pickle
import random
import zipfile

import pytest
import torch

from flowlab.system.files import read_checkpoint, write_checkpoint

CONTENT = {"flowlab": {"dim": 2}, "state_dict": {"weight": torch.arange(12.0).view(3, 4)}, "global_step": 7}


def is_unchanged(checkpoint):
    weights = checkpoint["state_dict"]["weight"], CONTENT["state_dict"]["weight"]
    return torch.equal(*weights) and checkpoint["global_step"] == 7


@pytest.fixture
def path(tmp_path):
    write_checkpoint(tmp_path / "last.ckpt", CONTENT)
    return tmp_path / "last.ckpt"


def test_flowlab_and_torch_read_a_written_checkpoint(path):
    assert is_unchanged(read_checkpoint(path))
    assert is_unchanged(torch.load(path, weights_only=True))


def test_a_checkpoint_without_a_checksum_is_read(path):
    torch.save(CONTENT, path)
    assert is_unchanged(read_checkpoint(path))
    content = bytearray(path.read_bytes())
    content[content.index(torch.tensor(11.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert not is_unchanged(torch.load(path, weights_only=True)), "torch reads the changed weights"
    with pytest.raises(ValueError, match="not what was written"):
        read_checkpoint(path)


def test_flipped_bit_never_changes_the_weights(path):
    content, draw = path.read_bytes(), random.Random(0)
    refused = 0
    for place in draw.sample(range(8 * len(content)), 400):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            assert is_unchanged(read_checkpoint(path))
        except ValueError:
            refused += 1
    assert refused > 380


def test_truncated_checkpoint_is_refused(path):
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError):  # noqa: PT011  each reader has its own message
            read_checkpoint(path)


class Planted:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def write_pickle(path, mark):
    path.write_bytes(pickle.dumps(Planted(mark)))


def write_archive(path, mark):
    torch.save({"flowlab": {"dim": 2}, "state_dict": {}, "x": Planted(mark)}, path)


def write_legacy_format(path, mark):
    torch.save(
        {"flowlab": {"dim": 2}, "state_dict": {}, "x": Planted(mark)}, path, _use_new_zipfile_serialization=False
    )


def write_compressed(path, mark):
    """Write four megabytes of weights as five compressed kilobytes, which torch would unpack."""
    torch.save({"flowlab": {"dim": 2}, "state_dict": {"flow.w": torch.zeros(10**6)}}, path)
    with zipfile.ZipFile(path) as archive:
        content = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


PLANTS = [write_pickle, write_archive, write_legacy_format, write_compressed]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_malicious_checkpoint_is_refused_and_runs_no_code(plant, tmp_path):
    path, mark = tmp_path / "last.ckpt", tmp_path / "mark"
    plant(path, mark)
    with pytest.raises(ValueError):  # noqa: PT011  each reader has its own message
        read_checkpoint(path)
    assert not mark.exists()


def test_malicious_files_are_harmful_without_the_checks(tmp_path):
    write_compressed(tmp_path / "evil", None)
    assert torch.load(tmp_path / "evil", weights_only=True)["state_dict"]["flow.w"].shape == (10**6,)
    for plant in (write_pickle, write_archive, write_legacy_format):
        mark = tmp_path / plant.__name__
        plant(tmp_path / "evil", mark)
        if plant is write_pickle:
            pickle.loads((tmp_path / "evil").read_bytes())
        else:
            torch.load(tmp_path / "evil", weights_only=False)
        assert mark.exists()
