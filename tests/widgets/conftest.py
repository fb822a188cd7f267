import json
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from onnlab.widgets._bundle import STATIC


@pytest.fixture(scope="session")
def javascript() -> Callable[..., Any]:
    """Run lines of JavaScript in Node with all of a module's exports in scope as ``m`` and data as ``given``.

    What ``answer`` is set to comes back. Typed arrays come back as lists.
    """
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        pytest.fail("no Node found: install it (Debian: apt-get install nodejs)", False)

    def run(module: str, lines: str, given: Any = None) -> Any:
        script = f"""
            import * as m from {json.dumps((STATIC / f"{module}.js").as_uri())};
            import {{ readFileSync }} from "node:fs";
            const given = JSON.parse(readFileSync(0, "utf8"));
            let answer = null;
            {lines}
            const plain = (_, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
            process.stdout.write(JSON.stringify(answer, plain));
        """
        done = subprocess.run(
            [node, "--input-type=module", "-e", script],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
