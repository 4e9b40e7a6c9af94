"""The page of tables states what the record of the default flow beside two libraries says."""

from pathlib import Path

from flowlab.claims import load_record


def test_the_page_has_the_means_of_the_record():
    page = (Path(__file__).parents[2] / "docs/how-to/own-table.md").read_text()
    means = load_record("tabular_quality").table.pivot(index="table", columns="side", values="nats")
    for name, row in means[["flowlab", "zuko", "flowjax"]].iterrows():
        assert f"| `{name}` | " + " | ".join(f"{value:.2f}" for value in row) + " |" in page
    ahead = (means["flowlab"] > means[["zuko", "flowjax"]].max(axis=1)).sum()
    assert f"ahead of both on {ahead} of {len(means)} tables" in " ".join(page.split())
