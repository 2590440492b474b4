"""Opens and locks private keys with cryptography: keys.py PASSPHRASE decrypt|encrypt

decrypt: the file of an encrypted key comes in, PEM in clear goes out. encrypt: the other way, into PEM.
"""

import base64
import json
import sys

from cryptography.hazmat.primitives import serialization as form

passphrase, way = sys.argv[1].encode(), sys.argv[2]
if way == "decrypt":
    sealed = json.load(sys.stdin)["encrypted_private_key"]
    sealed = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    key = form.load_der_private_key(sealed, passphrase)
    lock = form.NoEncryption()
else:
    key = form.load_pem_private_key(sys.stdin.buffer.read(), None)
    lock = form.BestAvailableEncryption(passphrase)
print(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, lock).decode(), end="")
