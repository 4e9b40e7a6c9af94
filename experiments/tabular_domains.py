"""Train on a table with columns of every kind, draw new rows, and check their domains, types and marginals.

    python experiments/tabular_domains.py [DIRECTORY] [KEY=VALUE ...]

It makes 50 000 rows of 10 dependent columns (skewed, heavy-tailed, bounded, of two modes, circular, counts, boolean, a
rating and a category), trains a spline flow given the category by `flowlab-train target=table`, draws 100 000 rows by
`flowlab-sample`, and prints, for each column, the values outside of its domain and the Kolmogorov-Smirnov distance
between new and given rows. The exit status is 1 if a value is outside, a type differs, or a distance of a continuous
column is above 0.02. Keys, such as max_steps=2000, go to the training.
"""

import sys
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas
from scipy.stats import ks_2samp, norm

from flowlab.cli.main import main as train
from flowlab.cli.sample import main as sample

ROWS, DRAWN, LARGEST = 50_000, 100_000, 0.02
SETTINGS = ("flow=nsf", "flow.depth=4", "max_steps=1500", "optimizer.lr=0.003", "trainer.progress=off")


def make_table(rows: int = ROWS, seed: int = 0) -> pandas.DataFrame:
    """Columns that depend on each other through a Gaussian copula, and on the category."""
    rng = np.random.default_rng(seed)
    region = rng.choice(["east", "north", "south", "west"], rows, p=[0.4, 0.3, 0.2, 0.1])
    shift = pandas.Series(region).map({"east": 0.0, "north": 0.5, "south": -0.5, "west": 1.0}).to_numpy()
    z = rng.normal(size=(rows, 9)) @ np.linalg.cholesky(0.4 * np.ones((9, 9)) + 0.6 * np.eye(9)).T
    uniform = norm.cdf(z)
    hour = np.where(rng.random(rows) < 0.7, 22 + 2.5 * z[:, 4], 8 + z[:, 5]) % 24
    return pandas.DataFrame(
        {
            "income": np.exp(10 + 0.8 * z[:, 0] + 0.5 * shift).round(2),
            "change": (z[:, 1] / np.sqrt(rng.chisquare(3, rows) / 3)) + shift,
            "share": uniform[:, 2] ** 2,
            "balance": np.where(uniform[:, 3] < 0.3, -300, 400) + 150 * rng.normal(size=rows),
            "hour": hour,
            "visits": rng.poisson(np.exp(0.5 + 0.5 * z[:, 5] + 0.3 * shift)),
            "rating": np.digitize(uniform[:, 6], [0.1, 0.25, 0.5, 0.8]) + 1,
            "smoker": uniform[:, 7] < 0.25,
            "age": np.clip(40 + 14 * z[:, 8], 18, None).round().astype(int),
            "region": region,
        }
    )


def find_outside(table: pandas.DataFrame) -> dict[str, int]:
    """The number of values outside of the domain of each column."""
    allowed = {
        "income": table["income"] > 0,
        "change": np.isfinite(table["change"]),
        "share": table["share"].between(0, 1),
        "balance": np.isfinite(table["balance"]),
        "hour": (table["hour"] >= 0) & (table["hour"] < 24),
        "visits": table["visits"] >= 0,
        "rating": table["rating"].isin([1, 2, 3, 4, 5]),
        "smoker": table["smoker"].isin([True, False]),
        "age": table["age"] >= 0,
        "region": table["region"].isin(["east", "north", "south", "west"]),
    }
    return {name: int((~inside).sum()) for name, inside in allowed.items()}


def main(words: list[str]) -> int:
    directory = Path(words.pop(0)) if words and "=" not in words[0] else Path(mkdtemp())
    directory.mkdir(parents=True, exist_ok=True)
    table, run = make_table(), directory / "run"
    table.to_csv(directory / "rows.csv", index=False)
    given = ["target=table", f"target.path={directory / 'rows.csv'}", "target.kinds=[hour:circular:0:24]"]
    if train([*given, "target.context=[region]", *SETTINGS, *words, f"hydra.run.dir={run}"]):
        return 1
    conditions = pandas.concat([table[["region"]]] * (DRAWN // ROWS))
    conditions.to_csv(directory / "conditions.csv", index=False)
    new = directory / "new.csv"
    if sample([str(run), f"output={new}", f"context={directory / 'conditions.csv'}", "seed=1"]):
        return 1
    given_rows, rows = pandas.read_csv(directory / "rows.csv"), pandas.read_csv(new)
    outside, failed = find_outside(rows), False
    print(f"{'column':<8}  {'outside':>7}  {'KS':>6}  type")
    for name in given_rows:
        same = rows[name].dtype == given_rows[name].dtype
        number = pandas.api.types.is_numeric_dtype(rows[name])
        distance = ks_2samp(rows[name], given_rows[name]).statistic if number else 0.0
        continuous = rows[name].dtype == "float64"
        failed |= bool(outside[name]) or not same or (continuous and distance > LARGEST)
        print(f"{name:<8}  {outside[name]:>7}  {distance:>6.4f}  {rows[name].dtype}{'' if same else ', changed'}")
    print("failed" if failed else f"passed: {len(rows):,} rows inside of every domain, with the types of the table")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
