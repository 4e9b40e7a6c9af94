from flowlab.sweeps.progress import sweep_progress


def test_a_line_for_each_tenth_of_the_steps_and_the_runs_that_ended(capsys):
    with sweep_progress("lines", jobs=[3, 1], steps=[100, 100]) as hear:
        hear(0, 0)
        hear(0, 50)
        hear(1, 100)
        hear(1, None)
        hear(0, 51)
        hear(0, 100)
        hear(0, None)
    assert capsys.readouterr().err.splitlines() == [
        " 37% of the steps, 0 of 4 runs ended",
        " 62% of the steps, 0 of 4 runs ended",
        "100% of the steps, 1 of 4 runs ended",
    ]


def test_a_bar_and_nothing(capsys):
    for kind in ("bar", "off"):
        with sweep_progress(kind, jobs=[1], steps=[10]) as hear:
            hear(0, 10)
            hear(0, None)
        error = capsys.readouterr().err
        assert ("1 of 1 runs ended" in error) == (kind == "bar")
