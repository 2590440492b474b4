"""Reads a mail as Python's email package does, from standard input, and prints what it found as JSON."""

import email
import email.policy
import json
import sys

raw = sys.stdin.buffer.read()
mail = email.message_from_bytes(raw, policy=email.policy.default)
defects = [repr(defect) for part in mail.walk() for defect in part.defects]
print(json.dumps({
    "headers": [[name, str(value)] for name, value in mail.items()],
    "type": mail.get_content_type(),
    "parts": [[part.get_content_type(), part.get_content().replace("\r\n", "\n")] for part in mail.iter_parts()],
    "to": [address.addr_spec for address in mail["to"].addresses],
    "from": [[address.display_name, address.addr_spec] for address in mail["from"].addresses],
    "date": mail["date"].datetime.isoformat(),
    "defects": defects,
    "longest": max(len(line) for line in raw.split(b"\r\n")),
    "bare": raw.replace(b"\r\n", b"").count(b"\n") + raw.replace(b"\r\n", b"").count(b"\r"),
}))
