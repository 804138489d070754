"""What no answer of Icecore's API may say, and how many answers there were. Loaded by SCHEMATHESIS_HOOKS."""

import atexit
import collections
import json
import os

import schemathesis

# What comes from inside: of the database, the program's text, its threads, the system's names for errors, the test's own directory.
INSIDE = [
    "sqlite",
    "no such table",
    "constraint failed",
    "database is",
    "panicked",
    "backtrace",
    "thread '",
    ".rs:",
    "axum",
    "serde",
    os.environ["ICECORE_FUZZ_DATA_DIR"],
]
# How many answers had which status, for the test to see that the caller was not turned away at the door.
TALLY = collections.Counter()


@atexit.register
def write_tally():
    with open(os.environ["ICECORE_FUZZ_TALLY"], "w", encoding="ascii") as file:
        json.dump(TALLY, file)


@schemathesis.check
def says_nothing_of_the_inside(context, response, case):
    """No answer has words that only the log may have, and each error has the envelope of web/API.md."""
    TALLY[str(response.status_code)] += 1
    text = response.content.decode("utf-8", "replace")
    for word in INSIDE:
        assert word.lower() not in text.lower(), f"an answer says {word!r}: {text[:500]}"
    if response.status_code >= 400 and case.method.upper() != "HEAD":
        error = json.loads(text)["error"]
        assert error["code"] and error["what"] and error["request_id"], text[:500]
