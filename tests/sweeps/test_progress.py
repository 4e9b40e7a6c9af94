from flowlab.sweeps.progress import show_sweep_progress


def test_lines_report_steps_in_percent_and_ended_runs(capsys):
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


def test_bar_is_shown_and_off_prints_nothing(capsys):
    for kind in ("bar", "off"):
        with show_sweep_progress(kind, jobs=[1], steps=[10]) as receive:
            receive(0, 10)
            receive(0, None)
        error = capsys.readouterr().err
        assert ("1 of 1 runs ended" in error) == (kind == "bar")
