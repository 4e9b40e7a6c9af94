import flowlab
from flowlab import compose
from flowlab.runs.directory import provenance


def test_provenance_names_seed_device_and_versions():
    record = provenance(compose("seed=7"))
    assert record["seed"] == 7
    assert record["device"] == "cpu"
    assert record["flowlab"] == flowlab.__version__
    assert record["packages"]["pytorch-lightning"].startswith("2.6")
