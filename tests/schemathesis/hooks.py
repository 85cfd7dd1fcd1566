"""Makes of what schemathesis thought out requests that come as far as the store: with the secret in KVS_SECRET, where they
would carry a random one or none, and without what never goes together."""

import os

import schemathesis

SECRET = os.environ.get("KVS_SECRET", "")


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.method == "DELETE" and case.path == "/kv/{bucket}" and "key" not in (case.query or {}):
        # A condition goes with one key, so that with a prefix nothing would ever be deleted.
        for name in list(case.headers or {}):
            if name.lower().startswith("if-"):
                del case.headers[name]
    if not SECRET:
        return
    if case.headers is not None:
        case.headers["X-KVS-Auth"] = SECRET
    if case.path == "/" and isinstance(case.body, dict):
        case.body["auth"] = SECRET
