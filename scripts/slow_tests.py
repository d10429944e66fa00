"""Write tests/slow.txt: the test functions that take more than 0.3 s, all parameters together.

``python -m pytest -o junit_duration_report=call --junitxml=times.xml; python scripts/slow_tests.py times.xml``
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

LIMIT = 0.3  # seconds
LIST = Path(__file__).parents[1] / "tests" / "slow.txt"


def main() -> None:
    """Read times as pytest writes them, and write the list."""
    seconds: dict[str, float] = defaultdict(float)
    for case in ElementTree.parse(sys.argv[1]).iter("testcase"):
        parts = case.attrib["classname"].split(".")[1:]  # tests.models.test_x.TestY
        classes = [part for part in parts if part.startswith("Test")]
        path = "/".join(parts[: len(parts) - len(classes)]) + ".py"
        seconds["::".join([path, *classes, case.attrib["name"].partition("[")[0]])] += float(case.attrib["time"])
    slow = sorted(name for name, spent in seconds.items() if spent > LIMIT)
    LIST.write_text("".join(f"{name}\n" for name in slow), encoding="utf-8")
    print(f"{len(slow)} of {len(seconds)} test functions are slow")


if __name__ == "__main__":
    main()
