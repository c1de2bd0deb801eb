import subprocess
import sys


def test_the_bridge_loads_no_compiler_and_no_judge() -> None:
    """Its unit forbids memory that is both written and run, and a carrier has no use for it."""
    code = "import sys, processor.bridge.program; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numba", "llvmlite", "numpy", "faust", "aiokafka"} & set(loaded.split())
