"""polars is imported only where a table is read."""

import subprocess
import sys

MODULES = ("dltrain.api", "dltrain.cli.main", "dltrain.data.sources.table", "dltrain.data.sources.embedded")


def test_built_in_data_does_not_import_polars():
    code = f"import sys, {', '.join(MODULES)}; dltrain.compose('data=iris'); print('polars' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "False"
