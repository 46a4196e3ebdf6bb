"""What the console's page promises in a real browser."""

import os
import re
import subprocess

from harness import Broken, check

# Half of it is what a machine with two cores takes.
PATIENCE = 600


@check("the page does in a real browser, before real processes, what its user expects", phase="end")
def page() -> str:
    command = ["cargo", "test", "--locked", "--package", "ensemble", "--test", "browser"]
    told = subprocess.run(
        command,
        env={**os.environ, "ENSEMBLE_BROWSER": "required"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    if told.returncode != 0:
        raise Broken(told.stdout[-6000:])
    passed = re.search(r"test result: ok\. (\d+) passed", told.stdout)
    return f"{passed[1]} stories"
