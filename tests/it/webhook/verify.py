"""Checks messages with standardwebhooks and cryptography: verify.py

One JSON object of secret, headers and body per line comes in, one JSON verdict per line goes out. The
secret is a shared one (whsec_) or the public half of a pair (whpk_).
"""

import base64
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError


def verify_with_public_half(key, headers, body):
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body}".encode()
    for signature in headers["webhook-signature"].split(" "):
        version, signature = signature.split(",")
        if version == "v1a":
            try:
                key.verify(base64.b64decode(signature), signed)
                return json.loads(body)
            except InvalidSignature:
                continue
    raise InvalidSignature("no v1a fits")


def verdict(secret, headers, body):
    try:
        if secret.startswith("whpk_"):
            payload = verify_with_public_half(secret, headers, body)
        else:
            payload = Webhook(secret).verify(body, headers)
    except (WebhookVerificationError, InvalidSignature):
        return "refused"
    return payload["type"]


for line in sys.stdin:
    print(json.dumps(verdict(**json.loads(line))))
