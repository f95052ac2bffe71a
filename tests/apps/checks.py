"""Functions shared by the scripts for Python applications."""

import contextlib
import subprocess
import tempfile
import time

# A script that takes longer is broken. The harness waits a little longer, so that the script can kill its own
# processes.
DEADLINE_SECONDS = 280
STARTED = time.monotonic()


def left():
    """The seconds left until the deadline."""
    return max(STARTED + DEADLINE_SECONDS - time.monotonic(), 0.001)


def eventually(what, probe):
    """Polls `probe` until its result is true, and returns the result; fails with `what` at the deadline."""
    while not (found := probe()):
        assert time.monotonic() - STARTED < DEADLINE_SECONDS, f"did not happen: {what}"
        time.sleep(0.005)
    return found


@contextlib.contextmanager
def process(*command, **options):
    """Runs a command beside the block, and kills it after the block; prints its output if the block fails."""
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
