import subprocess
import sys


def test_nobody_need_listen():
    code = (
        "import time; from flowlab.terminal import say\nsay('first')\ntime.sleep(0.3)\nfor _ in range(3): say('more')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    assert process.stderr.readline() == "first\n"
    process.stderr.close()
    assert process.wait(60) == 0


def test_a_full_disk_costs_what_is_said():
    code = (
        "from flowlab.terminal import say\nimport sys\nsay('lost', sys.stdout)\nsay('lost', sys.stdout)\nsay('heard')"
    )
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "heard\n")
