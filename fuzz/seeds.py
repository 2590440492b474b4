"""Fills corpus/verify with the tokens of the test vectors and with their decoded parts.

python3 fuzz/seeds.py
"""

import hashlib
import json
from base64 import urlsafe_b64decode
from pathlib import Path

HERE = Path(__file__).parent
VECTORS = HERE.parent / "crates/verify/tests/vectors"
CORPUS = HERE / "corpus/verify"


def decoded(part):
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return b""


def seeds():
    yield (VECTORS / "keys.json").read_bytes()
    for path in VECTORS.glob("*.json"):
        for case in json.loads(path.read_text()).get("cases", []):
            yield case["token"].encode()
            yield from map(decoded, case["token"].split(".")[:2])


CORPUS.mkdir(parents=True, exist_ok=True)
for seed in seeds():
    (CORPUS / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
print(f"{len(list(CORPUS.iterdir()))} seeds in {CORPUS}")
