from flowlab.sweeps.progress import show_sweep_progress


def test_a_line_for_each_tenth_of_the_steps_and_the_runs_that_ended(capsys):
    with show_sweep_progress("lines", jobs=[3, 1], steps=[100, 100]) as receive:
        receive(0, 0)
        receive(0, 50)
        receive(1, 100)
        receive(1, None)
        receive(0, 51)
        receive(0, 100)
        receive(0, None)
    assert capsys.readouterr().err.splitlines() == [
        " 37% of the steps, 0 of 4 runs ended",
        " 62% of the steps, 0 of 4 runs ended",
        "100% of the steps, 1 of 4 runs ended",
    ]


def test_a_bar_and_nothing(capsys):
    for kind in ("bar", "off"):
        with show_sweep_progress(kind, jobs=[1], steps=[10]) as receive:
            receive(0, 10)
            receive(0, None)
        error = capsys.readouterr().err
        assert ("1 of 1 runs ended" in error) == (kind == "bar")
