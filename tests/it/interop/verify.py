"""Checks tokens with PyJWT: verify.py JWKS_URL ISSUER AUDIENCE

One JSON string per line comes in, one JSON verdict per line goes out.
"""

import json
import sys

import jwt

ALGORITHMS = ["ES256", "EdDSA", "RS256"]


def verdict(token):
    try:
        key = keys.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key, ALGORITHMS, audience=audience, issuer=issuer)
    except jwt.PyJWTError as error:
        return {"refused": type(error).__name__}
    return {"accepted": claims["sub"]}


jwks_url, issuer, audience = sys.argv[1:]
keys = jwt.PyJWKClient(jwks_url)
for line in sys.stdin:
    print(json.dumps(verdict(json.loads(line))))
