"""What the scripts for Python applications share."""

import contextlib
import subprocess
import tempfile
import time

# A script that takes longer is broken. The harness ends it only after this, so that it can end its own processes.
DEADLINE_SECONDS = 50
STARTED = time.monotonic()


def left():
    """The seconds until the deadline."""
    return max(STARTED + DEADLINE_SECONDS - time.monotonic(), 0.001)


def eventually(what, probe):
    """What `probe` returns as soon as that is true; fails with `what` at the deadline."""
    while not (found := probe()):
        assert time.monotonic() - STARTED < DEADLINE_SECONDS, f"did not happen: {what}"
        time.sleep(0.005)
    return found


@contextlib.contextmanager
def process(*command, **options):
    """Runs a command beside the script, and ends it with the block; shows what it printed if the block fails."""
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)
        try:
            yield child
        except BaseException:
            log.seek(0)
            print(*command, "printed:\n", log.read())
            raise
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
