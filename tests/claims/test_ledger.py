import pytest

from flowlab.claims import load_ledger
from flowlab.claims.ledger import ERRATUM, HOLDS, REFUTED, Claim, LedgerError, Quantity

ENTRY = """
[[claims]]
id = "A1"
document = "Jang"
statement = "Two and two are four."
source = "arithmetic"
notebook = "01_sums"
quantities = [{ name = "sum", reference = 4, tolerance = 1e-6 }]
"""
FIGURE = """
[[figures]]
id = "F1"
document = "Jang"
caption = "Four."
notebook = "01_sums"
"""


def ledger(tmp_path, text):
    path = tmp_path / "ledger.toml"
    path.write_text(text, encoding="utf-8")
    return load_ledger(path)


def test_the_ledger_has_every_claim_and_figure():
    known = load_ledger()
    jang = {f"J{n}" for n in (1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 15, 16, 17, 18, 19, 22)}
    jang |= {"J6a", "J6b", "J6c", "J9b", "J20a", "J20b", "J20c", "J20d", "J21"}
    jang |= {"J23a", "J23b", "J23c", "J23d", "J23e", "J23f"}
    keydana = {f"K{n}" for n in range(1, 14)}
    rezende = {"R1", "R2", "R3", "R4"}
    assert set(known.claims) == jang | keydana | rezende
    figures = {"FK2", "FK10", "FJ12a", "FJ12b", "FR"} | {
        f"FJ{n}" for n in (1, 2, 3, 4, 5, 6, 7, 10, 11, 13, 14, 15, 17, 18, 23)
    }
    assert set(known.figures) == figures
    assert all(claim.document[0] == id[0] for id, claim in known.claims.items())


def test_load_ledger_returns_typed_entries(tmp_path):
    known = ledger(tmp_path, ENTRY + FIGURE)
    claim = known.claim("A1")
    assert isinstance(claim, Claim)
    assert claim.quantities == (Quantity(name="sum", reference=4, tolerance=1e-6),)
    assert claim.expected == HOLDS
    assert known.figure("F1").caption == "Four."


def test_errata_and_refutations_set_the_expected_verdict(tmp_path):
    quantity = Quantity(name="sum", at_least=0)
    given = {"id": "A", "document": "Jang", "statement": "", "source": "", "notebook": "", "quantities": (quantity,)}
    assert Claim(**given, erratum="wrong sign").expected == ERRATUM
    assert Claim(**given, erratum="wrong sign", refutation="it is five").expected == REFUTED


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("tolerance", "tolerence"), "A1: has the unknown key 'tolerence'; allowed are name, reference, tolerance"),
        (('document = "Jang"', 'document = "Kant"'), "A1: document='Kant'; allowed are Jang, Keydana, Rezende"),
        (('source = "arithmetic"\n', ""), "A1: .*missing .*'source'"),
        ((", tolerance = 1e-6", ""), "A1: no quantity has a rule"),
        (("reference = 4, ", ""), "sum: tolerance and standard_errors need a reference"),
        (("tolerance = 1e-6", "tolerance = 1e-6, standard_errors = 3"), "sum: give tolerance or standard_errors"),
        (("[{", '[{ name = "sum", at_least = 0 }, {'), "A1: two quantities have the same name"),
        ((ENTRY, ENTRY + ENTRY), "A1: two entries have this id"),
    ],
)
def test_a_wrong_entry_is_refused(tmp_path, change, message):
    text = (ENTRY + FIGURE).replace(*change)
    assert text != ENTRY + FIGURE
    with pytest.raises(LedgerError, match=message):
        ledger(tmp_path, text)


def test_unknown_id_error_lists_known_ids(tmp_path):
    known = ledger(tmp_path, ENTRY + FIGURE)
    with pytest.raises(LedgerError, match="'A2': the ledger has no such claim; allowed are A1"):
        known.claim("A2")
    with pytest.raises(LedgerError, match="'A1': the ledger has no such figure; allowed are F1"):
        known.figure("A1")


@pytest.mark.parametrize(
    ("quantity", "decimals"),
    [
        (Quantity(reference=1.0, tolerance=1e-6), 6),
        (Quantity(reference=1.0, tolerance=0.05), 2),
        (Quantity(reference=16, tolerance=0), 3),
        (Quantity(reference=16, tolerance=0, digits=0), 0),
        (Quantity(at_least=0.01), 3),
    ],
)
def test_decimals_follow_from_digits_or_tolerance(quantity, decimals):
    assert quantity.decimals == decimals
