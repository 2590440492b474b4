"""Sends recorded requests to a running service, and compares whole answers."""

import base64
import json
import re
import sys
import time

import requests

given = json.load(open(sys.argv[1]))
url, user_id = given["url"], "6169b2d892a5f30009d76480"
native = requests.Session()
native.headers["Authorization"] = "Bearer " + given["key"]


def issue(**more):
    answer = native.post(url + "/password-tokens", json={"username": "pat@example.com", **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["token"]


def redeem(token, **more):
    answer = native.post(url + "/redemptions", json={"token": token, **more})
    assert answer.status_code == 201, answer.text


def await_expiry(token):
    deadline = time.monotonic() + 60
    while native.get(f"{url}/password-tokens/{token}").json().get("code") != "token_expired":
        assert time.monotonic() < deadline, "the token does not expire"
        time.sleep(0.05)


def encoded(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def token_that_is(state):
    if state == "live without userId":
        return issue()
    if state == "expired":
        token = issue(userId=user_id, ttl=1)
        await_expiry(token)
        return token
    if state == "redeemed and expired":
        token = issue(userId=user_id, ttl=2)
        redeem(token)
        await_expiry(token)
        return token
    token = issue(userId=user_id)
    header, claims, signature = token.split(".")
    if state == "redeemed":
        redeem(token)
    elif state == "held":
        redeem(token, hold=300)
    elif state == "revoked":
        assert native.delete(f"{url}/password-tokens/{token}").status_code == 204
    elif state == "altered":
        altered = bytearray(decoded(signature))
        altered[0] ^= 1
        return f"{header}.{claims}.{encoded(bytes(altered))}"
    elif state == "altered to be old":
        old = json.loads(decoded(claims))
        old.update(iat=old["iat"] - 100000, exp=old["exp"] - 100000)
        return f"{header}.{encoded(json.dumps(old).encode())}.{signature}"
    elif state == "unsigned":
        return f'{encoded(b"""{"alg":"none","typ":"reset+jwt"}""")}.{claims}.'
    elif state == "cut off":
        return f"{header}.{claims}"
    else:
        assert state in ("live", "nothing"), state
    return token


def masked(body):
    is_time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z").fullmatch
    for name in ("expiresAt", "redeemedTime"):
        if is_time(body.get(name, "")):
            body[name] = "{time}"
    if body.get("token", "").startswith("eyJ"):
        body["token"] = "{token}"
    return body


for pair in given["pairs"]:
    token, request = token_that_is(pair["given"]), pair["request"]

    def fill(text):
        text = text.replace("{token}", token).replace("{key}", given["key"])
        return text.replace("{check key}", given["checkKey"])

    headers = {name: fill(value) for name, value in request["headers"].items()}
    body = fill(json.dumps(request["body"])).encode() if "body" in request else None
    # As it stands in the record, escapes and dots and all.
    prepared = requests.Request(request["method"], url, headers=headers, data=body).prepare()
    prepared.url = url + fill(request["path"])
    answer = requests.Session().send(prepared, timeout=60)
    found = {
        "status": answer.status_code,
        "contentType": answer.headers["content-type"],
        "body": masked(answer.json()),
    }
    assert found == pair["response"], f'{pair["name"]}\nwanted {pair["response"]}\nfound  {found}'
print(len(given["pairs"]))
