"""A process with everything imported that forks one child per command line, to be ended badly.

Importing torch takes seconds, a small training less: this is what makes hundreds of kills
affordable. Started by `fault_helpers.Server`, with `fault_shim.c` preloaded where there is a
compiler; reads one JSON object per line and answers each with one.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import time
import traceback

from PIL import Image

from counterpoise import cli
from counterpoise.pages import page

# What commands would import when they run.
COMMANDS = ("diagnosis", "evaluation", "reporting", "study", "training", "upscaling")
LATER = (
    *("skimage.metrics", "skimage.exposure", "torch.profiler", "PIL.JpegImagePlugin"),
    *("plotly.offline.offline", "scipy.stats"),
)


def child(order):
    """Be the command line; ends the process."""
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1, closefd=False) for n in (1, 2))
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup make test` ignores it
    os.environ["COLUMNS"] = "200"
    sys.argv = ["counterpoise", *order["arguments"]]
    for line in order["before"]:
        exec(line, {})  # noqa: S102
    shim = ctypes.CDLL(None) if "LD_PRELOAD" in os.environ else None
    if shim is not None:
        shim.fault_arm(order["below"].encode(), ctypes.c_long(order["at"]), order["action"])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    if shim is not None:
        shim.fault_count.restype, shim.fault_fired_on.restype = ctypes.c_long, ctypes.c_char_p
        found = {"count": shim.fault_count(), "fired_on": shim.fault_fired_on().decode()}
        shim.fault_arm(b"", ctypes.c_long(0), 0)
        with open(order["found"], "w") as file:
            json.dump(found, file)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve():
    for name in (*(f"counterpoise.commands.{c}" for c in COMMANDS), *LATER):
        importlib.import_module(name)
    Image.init()
    page._ENVIRONMENT.get_template("page.html")
    print(json.dumps({"ready": os.getpid()}), flush=True)  # noqa: T201
    for line in sys.stdin:
        order = json.loads(line)
        if order is None:
            return
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child(order)
        ended, status = 0, 0
        deadline = None if order["after_s"] is None else started + order["after_s"]
        while not ended:
            ended, status = os.waitpid(pid, os.WNOHANG if deadline else 0)
            if not ended and time.monotonic() > deadline:
                os.kill(pid, order["signal"])
                deadline = None
            elif not ended:
                time.sleep(0.002)
        code = os.waitstatus_to_exitcode(status)
        answer = {"code": code, "seconds": time.monotonic() - started}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve()
