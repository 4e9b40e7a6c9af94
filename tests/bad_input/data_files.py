"""Data files that flowlab refuses, by file name: a function that writes it, the culprit, the remedy, further words."""

import gzip
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pandas

COUNT = 40
GOOD = "a,b\n" + "".join(f"{i},{i * i}\n" for i in range(COUNT))
BARE = GOOD.split("\n", 1)[1]
POINTS = np.array([[i, i * i] for i in range(COUNT)], dtype=float)
NUMBERS = "choose other columns with target.columns"
CSV = "needed: UTF-8 text, a line for each point"
NPY = "as written by numpy.save"
PARQUET = "as written by pandas.DataFrame.to_parquet"
FILL = "remove or fill them first"


def text(content):
    return lambda path: path.write_text(content)


def raw(content):
    return lambda path: path.write_bytes(content)


def column(value):
    """Write a table; a function of the row number gives its first column."""
    return text("a,b\n" + "".join(f"{value(i)},{i * i}\n" for i in range(COUNT)))


def array(content, pickled=False):
    return lambda path: np.save(path, content, allow_pickle=pickled)


def header(shape, descr="<f8"):
    """Write a .npy file of 64 bytes whose header claims the given shape."""
    said = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return raw(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said.encode() + bytes(64))


def table(**columns):
    return lambda path: pandas.DataFrame(columns).to_parquet(path)


def cut(write, size):
    """Write a file and keep only its first bytes."""

    def write_and_cut(path):
        write(path)
        path.write_bytes(path.read_bytes()[:size])

    return write_and_cut


def link(there):
    return lambda path: path.symlink_to(there)


def nothing(path):
    pass


DATA_FILES = {
    # not a file, or a file type that flowlab does not read
    "missing.csv": (nothing, "missing.csv: no such file", "target.path must be a file"),
    "directory.csv": (Path.mkdir, "directory.csv: is a directory", "target.path must be a file"),
    "pipe.csv": (os.mkfifo, "pipe.csv: is not a file", "target.path must be a file"),
    "pipe.npy": (os.mkfifo, "pipe.npy: is not a file", "target.path must be a file"),
    "pipe.parquet": (os.mkfifo, "pipe.parquet: is not a file", "target.path must be a file"),
    "endless.csv": (link("/dev/zero"), "endless.csv: is not a file", "target.path must be a file"),
    "dangling.csv": (link("nowhere"), "dangling.csv: no such file", "target.path must be a file"),
    "loop.csv": (link("loop.csv"), "loop.csv: no such file", "target.path must be a file"),
    f"{'long' * 100}.csv": (nothing, "longlong", "File name too long"),
    "points.xlsx": (
        text(GOOD),
        "points.xlsx: files with the ending '.xlsx' cannot be read",
        "allowed: .csv, .npy, .parquet",
    ),
    "points.csv.gz": (text(GOOD), "points.csv.gz: cannot be read: Not a gzipped file", CSV),
    "cut.csv.gz": (raw(gzip.compress(GOOD.encode())[:60]), "cut.csv.gz: cannot be read", CSV),
    "points.npy.gz": (text(GOOD), "the ending '.gz'", "allowed: .csv, .npy, .parquet"),
    "points": (text(GOOD), "the ending ''", "allowed: .csv, .npy, .parquet"),
    # CSV: not text, or not a table
    "empty.csv": (text(""), "empty.csv: cannot be read", CSV),
    "blank.csv": (text("\n\n\n"), "blank.csv: cannot be read", CSV),
    "gzip.csv": (raw(gzip.compress(GOOD.encode())), "gzip.csv: is compressed", "unpack it first"),
    "utf16.csv": (raw(GOOD.encode("utf-16")), "utf16.csv: holds NUL bytes", "save it as UTF-8"),
    "utf16_without_mark.csv": (raw(GOOD.encode("utf-16-le")), "holds NUL bytes", "save it as UTF-8"),
    "nul.csv": (raw(GOOD.encode() + b"1,\x002\n"), "nul.csv: holds NUL bytes", "save it as UTF-8"),
    "latin1.csv": (raw("größe,b\n".encode("latin-1") + BARE.encode()), "latin1.csv: cannot be read", CSV),
    "bytes.csv": (raw(b"\xff\xfe\x01\x81" * 50), "bytes.csv: cannot be read", CSV),
    "array.csv": (lambda path: np.save(path.open("wb"), POINTS), "array.csv: holds NUL bytes", "save it as UTF-8"),
    "page.csv": (text("<html>404</html>\n" * 10), "page.csv: column '<html>404</html>'", NUMBERS),
    "semicolons.csv": (text(GOOD.replace(",", ";")), "the columns are separated by ';'", "save the file with commas"),
    "tabs.csv": (text(GOOD.replace(",", "\t")), "the columns are separated by '\\t'", "save the file with commas"),
    "bars_without_header.csv": (text(BARE.replace(",", "|")), "separated by '|'", "save the file with commas"),
    "decimal_commas.csv": (text("a;b\n" + "1,5;2,5\n" * 9), "decimal_commas.csv: cannot be read", CSV),
    "mixed.csv": (column(lambda i: f"{i};" if i % 2 else i), "column 'a' holds '1;' in row 2", NUMBERS),
    "comments.csv": (
        text("# a comment\n" + GOOD),
        "the first line begins with '# a comment'",
        "add target.comment=hash",
    ),
    "open_quote.csv": (text(GOOD + '"3,4\n5,6\n'), "EOF inside string", CSV),
    "longer_row.csv": (text(GOOD + "1,2,3\n"), "Expected 2 fields in line 42, saw 3", CSV),
    "longer_rows.csv": (text("a,b\n" + BARE.replace("\n", ",\n")), "longer_rows.csv: cannot be read", CSV),
    "row_numbers.csv": (text(GOOD.replace("a,b", ",b", 1)), "column 1 has no name", "save the file without them"),
    "trailing_commas.csv": (text(GOOD.replace("\n", ",\n")), "column 3 has no name", "save the file without them"),
    "title.csv": (
        text("My table\n" + GOOD.replace("a,b", "a,b,c")),
        "'My table', has 1 value(s) and the next",
        "remove",
    ),
    "one_name_twice.csv": (text(GOOD.replace("a,b", "a,a")), "two columns have the name 'a'", "rename one"),
    "header_twice.csv": (text(GOOD + GOOD), "column 'a' holds 'a' in row 41", NUMBERS),
    # CSV: the values of a column
    "word.csv": (text(GOOD + "x,3\n"), "column 'a' holds 'x' in row 41", NUMBERS),
    "hexadecimal.csv": (text(GOOD + "0x1F,3\n"), "column 'a' holds '0x1F' in row 41", NUMBERS),
    "thousands.csv": (text(GOOD + '"1,000",3\n'), "column 'a' holds '1,000' in row 41", NUMBERS),
    "underscore.csv": (text(GOOD + "1_000,3\n"), "column 'a' holds '1_000' in row 41", NUMBERS),
    "percent.csv": (column("{}%".format), "column 'a' holds '0%' in row 1", NUMBERS),
    "currency.csv": (column("${}".format), "column 'a' holds '$0' in row 1", NUMBERS),
    "dates.csv": (column("2020-01-{:02}".format), "column 'a' holds '2020-01-00' in row 1", NUMBERS),
    "complex.csv": (column("{}+1j".format), "column 'a' holds '0+1j' in row 1", NUMBERS),
    "question_mark.csv": (text(GOOD + "?,3\n"), "column 'a' holds '?' in row 41", NUMBERS),
    "huge_number.csv": (text(GOOD + "1" * 400 + ",3\n"), "column 'a' holds", NUMBERS),
    "long_word.csv": (text(GOOD + "x" * 1_000_000 + ",3\n"), "column 'a' holds 'xxx", NUMBERS),
    "not_a_number.csv": (text(GOOD + "nan,3\n"), "1 row(s) hold NaN, infinity or nothing, the first in row 41", FILL),
    "infinite.csv": (text(GOOD + "3,inf\n"), "row 41, column 'b'", FILL),
    "beyond_all.csv": (text(GOOD + "1e999,3\n"), "row 41, column 'a'", FILL),
    "gap.csv": (text(GOOD + "3,\n"), "row 41, column 'b'", FILL),
    "shorter_row.csv": (text(GOOD + "3\n"), "row 41, column 'b'", FILL),
    "no_row.csv": (text("a,b\n"), "no_row.csv: 0 rows", "at least 6 are needed"),
    "one_row.csv": (text("a,b\n1,2\n"), "of 1 row(s) 0 are left to train on", "at least 6 rows are needed"),
    "constant.csv": (text("a,b\n" + "1,2\n" * 40), "columns 'a', 'b' have the same value", "target.columns"),
    "half_constant.csv": (
        column(lambda i: 7),
        "column 'a' has the same value",
        "choose other columns with target.columns",
    ),
    "rounded_away.csv": (column(lambda i: 1e9 + i), "column 'a' reaches 1e+09 but varies by", "use dtype=float64"),
    "beyond_float32.csv": (column("{}e38".format), "column 'a' reaches 3.9e+39", "or dtype=float64"),
    "beyond_float64.csv": (column("{}e300".format), "column 'a' has values too large", "use another unit"),
    "below_float32.csv": (column("{}e-45".format), "which float32 does not hold", "or dtype=float64"),
    # NPY
    "empty.npy": (raw(b""), "empty.npy: cannot be read", NPY),
    "text.npy": (text(GOOD), "text.npy: cannot be read: it does not begin with", NPY),
    "pickle.npy": (raw(pickle.dumps(POINTS)), "pickle.npy: cannot be read: it does not begin with", NPY),
    "archive.npy": (lambda path: np.savez(path.open("wb"), a=POINTS), "archive.npy: cannot be read", NPY),
    "cut.npy": (cut(array(POINTS), 300), "cut.npy: cannot be read: EOF: reading array data", NPY),
    "cut_header.npy": (cut(array(POINTS), 20), "cut_header.npy: cannot be read", NPY),
    "future.npy": (raw(b"\x93NUMPY\x09\x00" + bytes(200)), "future.npy: cannot be read", NPY),
    "objects.npy": (
        array(np.array([[1, {}]], dtype=object), True),
        "objects.npy: cannot be read: it holds Python objects",
        NPY,
    ),
    "petabytes.npy": (header((10**15, 2)), "petabytes.npy: cannot be read", NPY),
    "overflow.npy": (header((2**62, 2**62)), "overflow.npy: cannot be read", NPY),
    "negative.npy": (header((-1, 2)), "negative.npy: cannot be read", NPY),
    "code.npy": (header("__import__('os').getcwd()"), "code.npy: cannot be read", NPY),
    "number.npy": (array(np.array(3.0)), "an array of shape () and type float64", "needed: numbers of shape (n, dim)"),
    "cube.npy": (array(np.zeros((4, 4, 4))), "an array of shape (4, 4, 4)", "save array.reshape(len(array), -1)"),
    "complex.npy": (array(POINTS + 1j), "type complex128", "needed: numbers of shape (n, dim)"),
    "words.npy": (array(POINTS.astype(str)), "type <U32", "save array.astype(float)"),
    "records.npy": (
        array(np.zeros(9, dtype=[("a", int)])),
        "records.npy: holds an array",
        "needed: numbers of shape (n, dim); save numpy.lib.recfunctions.structured_to_unstructured(array)",
    ),
    "transposed.npy": (array(POINTS.T), "2 row(s) of 40 columns", "use array.T if each column is a point"),
    "wide.csv": (text("1.5," * 60 + "2\n" + "2.5," * 60 + "3\n"), "2 row(s) of 61 columns", "target.columns"),
    "no_columns.npy": (array(np.zeros((40, 0))), "no_columns.npy: no columns to use", "the file has: none"),
    "no_rows.npy": (array(np.zeros((0, 2))), "no_rows.npy: 0 rows", "at least 6 are needed"),
    "not_a_number.npy": (array(POINTS * np.nan), "40 row(s) hold NaN", FILL),
    "long_doubles.npy": (array(POINTS * np.longdouble("1e4000")), "39 row(s) hold NaN, infinity", FILL),
    "one_column.npy": (array(POINTS[:, 1]), "at most the dimension of the target, 1", "use flow.rank=1"),
    # Parquet
    "empty.parquet": (raw(b""), "empty.parquet: cannot be read", PARQUET),
    "text.parquet": (text(GOOD), "text.parquet: cannot be read", PARQUET),
    "cut.parquet": (cut(table(a=range(40)), 500), "cut.parquet: cannot be read", PARQUET),
    "words.parquet": (table(a=["x"] * 40), "column 'a' holds 'x' in row 1", NUMBERS),
    "lists.parquet": (table(a=[[1, 2]] * 40), "column 'a' holds array([1, 2]) in row 1", NUMBERS),
    "mappings.parquet": (table(a=[{"q": 1}] * 40), "column 'a' holds {'q': 1} in row 1", NUMBERS),
    "bytes.parquet": (table(a=[b"x"] * 40), "column 'a' holds b'x' in row 1", NUMBERS),
    "times.parquet": (table(a=pandas.date_range("2020", periods=40)), "column 'a' holds Timestamp", NUMBERS),
    "gaps.parquet": (table(a=[None, 1.0] * 20), "20 row(s) hold NaN, infinity or nothing", FILL),
    "nothing.parquet": (table(a=[None] * 40), "40 row(s) hold NaN, infinity or nothing", FILL),
    "no_rows.parquet": (table(a=[]), "no_rows.parquet: 0 rows", "at least 6 are needed"),
    # wrong columns and splits of a valid file
    "other_column.csv": (text(GOOD), "no column 'c'", "the file has: a, b", "target.columns=[a,c]"),
    "one_column_twice.csv": (text(GOOD), "target.columns=['a', 'a']", "names a column twice", "target.columns=[a,a]"),
    "no_column.csv": (text(GOOD), "target.columns=[]", "must not be empty", "target.columns=[]"),
    "nothing_to_train_on.csv": (text(GOOD), "of 40 row(s) 0 are left", "smaller target.validation", "target.test=0.99"),
    "no_density.csv": (text(GOOD), "objective=reverse_kl", "objective=maximum_likelihood", "objective=reverse_kl"),
}
