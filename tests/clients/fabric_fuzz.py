"""Makes requests from an OpenAPI document with schemathesis, and has it judge the answers by the document."""

import collections
import copy
import json
import subprocess
import sys
import time

import requests

given = json.load(open(sys.argv[1]))
url, user_id = given["url"], "6169b2d892a5f30009d76480"
context = json.dumps({"account": user_id, "channel": 12})
native = requests.Session()
native.headers["Authorization"] = "Bearer " + given["key"]


def issue(**more):
    body = {"username": "pat@example.com", "userId": user_id, **more}
    return native.post(url + "/password-tokens", json=body).json()["token"]


def tokens():
    """One of each kind: what is made up at random is never one of ours."""
    live, redeemed, expired = issue(), issue(), issue(ttl=1)
    assert native.post(url + "/redemptions", json={"token": redeemed}).status_code == 201
    deadline = time.monotonic() + 60
    while native.get(f"{url}/password-tokens/{expired}").json().get("code") != "token_expired":
        assert time.monotonic() < deadline, "the token does not expire"
        time.sleep(0.05)
    return {"live": live, "redeemed": redeemed, "expired": expired, "altered": live[:-8] + "AAAAAAAA"}


def operations(document):
    for methods in document["paths"].values():
        for method in ("get", "patch"):
            if method in methods:
                yield methods[method]


def with_examples(document):
    """The vendor's document, with tokens that there are, and errors whole."""
    document = copy.deepcopy(document)
    document["components"]["schemas"]["APIError"]["required"] = ["error", "code", "message"]
    document["components"]["schemas"]["APIError"]["additionalProperties"] = False
    paths = document["paths"]
    verify = paths["/api-commerceIdentity/auth/token/{token}"]["get"]
    password = paths["/api-commerceIdentity/auth/password"]["patch"]
    known = tokens()
    verify["parameters"][0]["examples"] = {name: {"value": token} for name, token in known.items()}
    known["live"] = issue()
    body = {"userId": user_id, "newPassword": "ABC123"}
    password["requestBody"]["content"]["application/json"]["examples"] = {
        name: {"value": {**body, "resetToken": token}} for name, token in known.items()
    }
    return document


def with_ours(document):
    """The answers besides: to what the vendor's document leaves open."""
    for operation in operations(document):
        for status in ("400", "401", "403", "413", "415"):
            operation["responses"][status] = {"$ref": "#/components/responses/error"}
    return document


def run(name, document, *more):
    with open(f"{name}.json", "w") as file:
        json.dump(document, file)
    checks = [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "missing_required_header",
        "unsupported_method",
        "ignored_auth",
    ]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{name}.json", "--url", url]
    command += ["--checks", ",".join(checks), "--seed", str(given["seed"])]
    command += ["--max-examples", str(given["examples"]), "--continue-on-failure"]
    command += ["--suppress-health-check", "all", "--warnings", "off", "--no-color"]
    command += ["--report", "har", "--report-har-path", f"{name}.har", "--output-sanitize", "false"]
    done = subprocess.run([*command, *more], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    entries = json.load(open(f"{name}.har"))["log"]["entries"]
    return collections.Counter(
        (entry["request"]["method"], entry["response"]["status"]) for entry in entries
    )


# With a good context and all else as documented, only what the vendor's document has.
seen = run(
    "verify",
    with_examples(given["document"]),
    "--include-operation-id",
    "verifyResetToken",
    "--mode",
    "positive",
    "--header",
    f"x-site-context: {context}",
)
assert {("GET", status) for status in (200, 401, 404)} <= set(seen), seen
# With any context.
more = run("any", with_ours(with_examples(given["document"])), "--header", f'x-api-key: {given["key"]}')
assert ("GET", 400) in more and ("PATCH", 400) in more, more
# With a good context and a good key, so that bodies are looked at.
rest = run(
    "known",
    with_ours(with_examples(given["document"])),
    "--header",
    f"x-site-context: {context}",
    "--header",
    f'x-api-key: {given["key"]}',
)
assert {("PATCH", status) for status in (200, 400, 401, 404)} <= set(rest), rest
print(sum((seen + more + rest).values()), "requests were made", seen, more, rest)
