"""Runs a command and prints as JSON what it took: `python bench/launch.py COMMAND ...`.

A process apart and a small one, because on Linux a process starts with the peak memory of the one
that started it."""

import json
import resource
import subprocess
import sys
import time

began = time.perf_counter()
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
seconds = time.perf_counter() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(
    json.dumps(
        {
            "seconds": seconds,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_mib": used.ru_maxrss / 1024,
        }
    )
)
sys.exit(status)
