"""Writes the test vectors beside this file: tokens made by hand, without any JWT library.

    python3 -m venv target/vectors && target/vectors/bin/pip install 'cryptography>=44'
    target/vectors/bin/python crates/verify/tests/vectors/generate.py

Nothing is random, so a second run writes the same bytes. The keys are the examples of RFC 7515 A.2
(RSA), RFC 7515 A.3 (P-256) and RFC 8037 A.1 (Ed25519); the run stops unless they reproduce the
RFCs' own signatures and thumbprint. What a token must answer is written down here, never computed
by the code under test. Apart from what its name says, every token is good and really signed.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

HERE = Path(__file__).parent
ISSUER = "https://reset.example.com"
AUDIENCE = "https://app.example.com"
NOW = 1_800_000_000
DAY = 24 * 60 * 60
JTI = "AAECAwQFBgcICQoLDA0ODw"
MAX_TOKEN, MAX_HEADER = 8192, 2048
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def b64(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sha256(data):
    return hashlib.sha256(data).digest()


# --- Keys -----------------------------------------------------------------------------------------

EC_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
ED_JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
}
RSA_JWK = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0"
    "Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re"
    "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvU"
    "K-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    "e": "AQAB",
    "d": "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2"
    "NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51"
    "gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPD"
    "VZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ",
    "p": "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_P"
    "y5PJdTJNPY8cQn7ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc",
    "q": "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeL"
    "QeZD_YwD66t62wDmpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc",
    "dp": "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOK"
    "nu1R6HsJeDCjn12Sk3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0",
    "dq": "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U"
    "0ajaHF-NKJnwgjMd2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU",
    "qi": "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5"
    "cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U",
}
REQUIRED = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}


def number(text):
    return int.from_bytes(unb64(text), "big")


def octets(value, length):
    return value.to_bytes(length, "big")


def thumbprint(jwk):
    members = {name: jwk[name] for name in REQUIRED[jwk["kty"]]}
    return b64(sha256(json.dumps(members, separators=(",", ":")).encode()))


def public(jwk):
    return {
        name: value for name, value in jwk.items() if name not in ("d", "p", "q", "dp", "dq", "qi")
    }


EC_PRIVATE = ec.derive_private_key(number(EC_JWK["d"]), ec.SECP256R1())
ED_PRIVATE = ed25519.Ed25519PrivateKey.from_private_bytes(unb64(ED_JWK["d"]))
RSA_PRIVATE = rsa.RSAPrivateNumbers(
    *(number(RSA_JWK[name]) for name in ("p", "q", "d", "dp", "dq", "qi")),
    rsa.RSAPublicNumbers(number(RSA_JWK["e"]), number(RSA_JWK["n"])),
).private_key()
STRANGER = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())

N_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
N_RSA, D_RSA = number(RSA_JWK["n"]), number(RSA_JWK["d"])


# --- Signatures -----------------------------------------------------------------------------------


def ecdsa(message, private=EC_PRIVATE, digest=None):
    """r and s with the nonce of RFC 6979."""
    scheme = ec.ECDSA(digest or hashes.SHA256(), deterministic_signing=True)
    return utils.decode_dss_signature(private.sign(message, scheme))


def es256(message, **options):
    r, s = ecdsa(message, **options)
    return octets(r, 32) + octets(s, 32)


def eddsa(message):
    return ED_PRIVATE.sign(message)


def rs256(message, digest=None):
    return RSA_PRIVATE.sign(message, padding.PKCS1v15(), digest or hashes.SHA256())


def rsa_raw(block):
    return octets(pow(int.from_bytes(block, "big"), D_RSA, N_RSA), 256)


def mask(seed, length, digest=hashlib.sha256):
    blocks = (
        digest(seed + octets(i, 4)).digest() for i in range(length // digest().digest_size + 1)
    )
    return b"".join(blocks)[:length]


def ps256(message, salt_length=32, trailer=0xBC, mask_digest=hashlib.sha256):
    """RFC 8017 §8.1.1 with a salt drawn from the message, so that it is the same every time."""
    salt = hashlib.sha512(message).digest()[:salt_length]
    digest = sha256(bytes(8) + sha256(message) + salt)
    block = bytes(256 - 32 - 2 - salt_length) + b"\x01" + salt
    masked = bytearray(a ^ b for a, b in zip(block, mask(digest, len(block), mask_digest)))
    masked[0] &= 0x7F
    return rsa_raw(bytes(masked) + digest + bytes([trailer]))


class Edwards:
    """Just enough of RFC 8032 §5.1 to make signatures that no honest signer makes."""

    P = 2**255 - 19
    L = 2**252 + 27742317777372353535851937790883648493
    D = -121665 * pow(121666, -1, P) % P
    NEUTRAL = (0, 1)
    BASE = (
        15112221349535400772501151409588531511454012693041857206046113283949847762202,
        46316835694926478169428394003475163141307993866256225615783033603165251855960,
    )
    # Its multiples are the eight points of small order.
    ORDER_8 = (
        43496726750457979451437558183816721346016168361625936758514574428539776020131,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
    )

    @classmethod
    def add(cls, a, b):
        product = cls.D * a[0] * b[0] * a[1] * b[1] % cls.P
        x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, -1, cls.P)
        y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, cls.P)
        return x % cls.P, y % cls.P

    @classmethod
    def times(cls, scalar, point):
        total = cls.NEUTRAL
        for bit in bin(scalar)[2:]:
            total = cls.add(total, total)
            if bit == "1":
                total = cls.add(total, point)
        return total

    @staticmethod
    def encode(point):
        return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")

    @classmethod
    def sign(cls, message, domain=b"", shift=NEUTRAL, nonce=None):
        """`shift` is added to the commitment R; `nonce` takes the place of the honest one."""
        secret = hashlib.sha512(unb64(ED_JWK["d"])).digest()
        scalar = int.from_bytes(secret[:32], "little") & (2**254 - 8) | 2**254
        if nonce is None:
            nonce = int.from_bytes(
                hashlib.sha512(domain + secret[32:] + message).digest(), "little"
            )
        r = cls.encode(cls.add(cls.times(nonce % cls.L, cls.BASE), shift))
        challenge = hashlib.sha512(domain + r + unb64(ED_JWK["x"]) + message).digest()
        s = (nonce + int.from_bytes(challenge, "little") * scalar) % cls.L
        return r + s.to_bytes(32, "little")


class Key:
    def __init__(self, jwk, alg, sign, kid=None):
        self.kid = kid or thumbprint(jwk)
        self.alg = alg
        self.sign = sign
        self.jwk = {"kid": self.kid, "use": "sig", "alg": alg, **jwk}


ES = Key(EC_JWK, "ES256", es256)
ED = Key(ED_JWK, "EdDSA", eddsa)
RS = Key(RSA_JWK, "RS256", rs256)
PS = Key(RSA_JWK, "PS256", ps256, kid="rsa-pss")
KEYS = [ES, ED, RS, PS]


# --- The RFCs' own examples -----------------------------------------------------------------------

RFC_CLAIMS = (
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
RFC_MAC_KEY = (
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
)
RFC_7515_A1 = (
    f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{RFC_CLAIMS}."
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
RFC_7515_A2 = (
    f"eyJhbGciOiJSUzI1NiJ9.{RFC_CLAIMS}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh"
    "7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6"
    "xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCn"
    "vWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
RFC_7515_A3 = (
    f"eyJhbGciOiJFUzI1NiJ9.{RFC_CLAIMS}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
RFC_7515_A5 = f"eyJhbGciOiJub25lIn0.{RFC_CLAIMS}."
RFC_7797_4_2 = (
    "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19.."
    "A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY"
)
RFC_8037_A4 = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


def check_examples():
    """The keys are the published ones, and the hand-made schemes are the standard ones."""

    def cut(token):
        signed, _, signature = token.rpartition(".")
        return signed.encode(), unb64(signature)

    def mac(message):
        return hmac.digest(unb64(RFC_MAC_KEY), message, "sha256")

    assert ED.kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    message, signature = cut(RFC_7515_A2)
    assert rs256(message) == signature
    RSA_PRIVATE.public_key().verify(
        ps256(message), message, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()
    )
    message, signature = cut(RFC_7515_A3)
    dss = utils.encode_dss_signature(
        *(int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    )
    EC_PRIVATE.public_key().verify(dss, message, ec.ECDSA(hashes.SHA256()))
    point = EC_PRIVATE.public_key().public_numbers()
    assert (octets(point.x, 32), octets(point.y, 32)) == (unb64(EC_JWK["x"]), unb64(EC_JWK["y"]))
    message, signature = cut(RFC_8037_A4)
    assert eddsa(message) == Edwards.sign(message) == signature
    assert Edwards.times(8, Edwards.ORDER_8) == Edwards.NEUTRAL != Edwards.times(4, Edwards.ORDER_8)
    message, signature = cut(RFC_7515_A1)
    assert mac(message) == signature
    message, signature = cut(RFC_7797_4_2)
    assert mac(message + b"$.02") == signature


# --- Tokens ---------------------------------------------------------------------------------------


class Raw:
    """A JSON text put in as it stands."""

    def __init__(self, text):
        self.text = text


DROP = object()


def render(members):
    """A JSON object; members of the value DROP are left out."""
    pairs = (
        json.dumps(name)
        + ":"
        + (value.text if isinstance(value, Raw) else json.dumps(value, separators=(",", ":")))
        for name, value in members.items()
        if value is not DROP
    )
    return "{" + ",".join(pairs) + "}"


def head(key=ES, **changes):
    return render({"alg": key.alg, "typ": "reset+jwt", "kid": key.kid, **changes})


CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "ada",
    "credential_id": "cred-1",
    "iat": NOW - 60,
    "exp": NOW + 840,
    "jti": JTI,
}


def body(**changes):
    return render({**CLAIMS, **changes})


def bytes_of(text):
    return text if isinstance(text, bytes) else text.encode()


def seal(header, claims, sign):
    """Signs two parts that are base64url already, or are meant to look so."""
    return f"{header}.{claims}.{b64(sign(f'{header}.{claims}'.encode()))}"


def token(key=ES, header=None, claims=None, sign=None):
    header, claims = header or head(key), claims or body()
    return seal(b64(bytes_of(header)), b64(bytes_of(claims)), sign or key.sign)


def with_header(key=ES, **changes):
    return token(key, header=head(key, **changes))


def with_claims(**changes):
    return token(claims=body(**changes))


def good(**changes):
    """What a verified token says: the claims that the profile knows, one audience as a string."""
    claims = {**CLAIMS, **changes}
    if isinstance(claims["aud"], list) and len(claims["aud"]) == 1:
        claims["aud"] = claims["aud"][0]
    return {"claims": {name: value for name, value in claims.items() if value is not DROP}}


def refused(error, **facts):
    return {"error": error, **facts}


def not_json(part, rule="syntax", **facts):
    return refused("json", part=part, rule=rule, **facts)


def wrong_claim(name):
    return refused("invalid_claim", claim=name)


BAD_SIGNATURE = refused("bad_signature")


class Group:
    def __init__(self, name, about):
        self.name, self.about, self.cases = name, about, []

    def add(self, name, text, expect, now=NOW, leeway=None):
        assert all(case["name"] != name for case in self.cases), name
        case = {"name": name, "token": text, "now": now}
        if leeway is not None:
            case["leeway"] = leeway
        self.cases.append({**case, "expect": expect})

    def write(self):
        facts = {"about": self.about, "issuer": ISSUER, "audience": AUDIENCE, "cases": self.cases}
        write(f"{self.name}.json", facts)


def write(name, value):
    (HERE / name).write_text(json.dumps(value, indent=2) + "\n")


# --- Groups, in the order of the checks -----------------------------------------------------------


def valid():
    group = Group(
        "valid", "Tokens that are accepted, with everything that verification hands back."
    )
    for key, name in (
        (ES, "an ES256 token"),
        (ED, "an EdDSA token"),
        (RS, "an RS256 token"),
        (PS, "a PS256 token"),
    ):
        group.add(name, token(key), good())
    status = {"status_list": {"idx": 412, "uri": "https://reset.example.com/status/1"}}
    full = {"user_id": "u-42", "nbf": NOW - 30, "status": status}
    group.add("every claim there is", with_claims(**full), good(**full))
    group.add(
        "no claim that may be left out",
        with_claims(credential_id=DROP),
        good(credential_id=DROP),
    )
    group.add(
        "the JSON is spread over lines",
        token(
            header=json.dumps(json.loads(head()), indent=4),
            claims="\r\n\t " + json.dumps(CLAIMS, indent=4) + " \n",
        ),
        good(),
    )
    group.add(
        "the members stand in another order",
        token(
            header=render(dict(reversed(json.loads(head()).items()))),
            claims=render(dict(reversed(CLAIMS.items()))),
        ),
        good(),
    )
    escaped = '{"\\u0069ss":"https:\\/\\/reset.example.com",' + body(iss=DROP)[1:]
    group.add("names and values are compared after unescaping", token(claims=escaped), good())
    unknown = {
        "x-null": None,
        "x-true": True,
        "x-int": -7,
        "x-float": 1.5,
        "x-exponent": Raw("1e300"),
        "x-text": "\u2603",
        "x-list": [1, "two", [None]],
        "x-object": {"iss": "inner", "exp": 1},
        "": "no name",
    }
    group.add("unknown header parameters of every type are ignored", with_header(**unknown), good())
    group.add("unknown claims of every type are ignored", with_claims(**unknown), good())
    group.add("a name in another case is another name", with_claims(EXP="soon", Iss=1), good())
    group.add(
        "a username outside ASCII",
        with_claims(sub="Zo\u00eb \u674e \U0001f511"),
        good(sub="Zo\u00eb \u674e \U0001f511"),
    )
    return group


def resized(length, **changes):
    """A token of exactly so many bytes, filled up with an unknown claim."""
    for blanks in range(4):
        header = head() + " " * blanks
        for fill in range(length * 3 // 4 - 800, length * 3 // 4):
            size = (
                len(b64(header.encode()))
                + len(b64(body(fill="x" * fill, **changes).encode()))
                + 2
                + 86
            )
            if size == length:
                return token(header=header, claims=body(fill="x" * fill, **changes))
    raise AssertionError(length)


def misspell(part, change):
    """A token, really signed, one part of which is spelled in another way."""
    # Lengths that leave unused bits, and text that needs both `-` and `_`.
    parts = [b64(head(fill="~~?>~?").encode()), b64(body(fill="~~?>~?").encode())]
    assert all({"-", "_"} & set(text) and len(text) % 4 > 1 for text in parts), parts
    if part < 2:
        parts[part] = change(parts[part])
    good_one = seal(*parts, es256)
    if part < 2:
        return good_one
    signed, _, signature = good_one.rpartition(".")
    return f"{signed}.{change(signature)}"


def stray_bits(text):
    return text[:-1] + ALPHABET[ALPHABET.index(text[-1]) + 1]


def form():
    group = Group("form", "The compact serialization: length, three parts, canonical base64url.")
    fine = token()
    header, claims, signature = fine.split(".")

    group.add(
        "8193 bytes are too long", resized(MAX_TOKEN + 1), refused("too_long", length=MAX_TOKEN + 1)
    )
    group.add("8192 bytes are looked at: accepted", resized(MAX_TOKEN), good())
    group.add(
        "8192 bytes are looked at: expired",
        resized(MAX_TOKEN, exp=NOW - 1),
        refused("expired", exp=NOW - 1),
    )
    group.add(
        "too long goes before everything else",
        "." * (MAX_TOKEN + 1),
        refused("too_long", length=MAX_TOKEN + 1),
    )

    flattened = {"protected": header, "payload": claims, "signature": signature}
    for name, text, found in (
        ("an empty text", "", 1),
        ("one part", header, 1),
        ("two parts", f"{header}.{claims}", 2),
        ("four parts", f"{fine}.{signature}", 4),
        ("four parts, the last one empty", f"{fine}.", 4),
        ("four parts, the first one empty", f".{fine}", 4),
        ("five parts, as in JWE", f"{header}.{claims}.{signature}.{claims}.{signature}", 5),
        ("the flattened JSON serialization", json.dumps(flattened), 1),
        (
            "the general JSON serialization",
            json.dumps(
                {"payload": claims, "signatures": [{"protected": header, "signature": signature}]}
            ),
            1,
        ),
        ("the parts stand between commas", fine.replace(".", ","), 1),
        ("the dots are percent-encoded", fine.replace(".", "%2E"), 1),
    ):
        group.add(name, text, refused("part_count", found=found))

    group.add("only two dots", "..", refused("encoding", part="header"))
    group.add("an empty header", f".{claims}.{signature}", refused("encoding", part="header"))
    group.add(
        "empty claims, as in a detached payload",
        f"{header}..{signature}",
        refused("encoding", part="claims"),
    )
    group.add("an empty signature", f"{header}.{claims}.", refused("encoding", part="signature"))

    spellings = (
        ("is padded", lambda text: text + "=" * (-len(text) % 4)),
        ("is padded with percent-encoded signs", lambda text: text + "%3D" * (-len(text) % 4)),
        ("uses the standard alphabet", lambda text: text.replace("-", "+").replace("_", "/")),
        ("holds a space", lambda text: text[:8] + " " + text[8:]),
        ("holds a line break", lambda text: text[:8] + "\r\n" + text[8:]),
        ("holds a zero byte", lambda text: text[:8] + "\0" + text[8:]),
        ("begins with a space", lambda text: " " + text),
        ("ends with a tab", lambda text: text + "\t"),
        ("has unused bits set", stray_bits),
        ("has a length that no bytes have", lambda text: text + "A" * ((1 - len(text)) % 4 or 4)),
        ("holds a letter from outside ASCII", lambda text: text[:8] + "\u0410" + text[9:]),
    )
    for index, part in enumerate(("header", "claims", "signature")):
        for name, change in spellings:
            subject = "the claims part" if part == "claims" else f"the {part}"
            group.add(f"{subject} {name}", misspell(index, change), refused("encoding", part=part))

    group.add("a space before the token", f" {fine}", refused("encoding", part="header"))
    group.add("a line break after the token", f"{fine}\n", refused("encoding", part="signature"))
    group.add(
        "a byte order mark before the token", f"\ufeff{fine}", refused("encoding", part="header")
    )
    group.add(
        "the scheme of an Authorization header",
        f"Bearer {fine}",
        refused("encoding", part="header"),
    )
    group.add("quotation marks around the token", f'"{fine}"', refused("encoding", part="header"))
    group.add(
        "an RS256 signature has unused bits set",
        stray_bits(token(RS)),
        refused("encoding", part="signature"),
    )
    group.add(
        "an EdDSA signature has unused bits set",
        stray_bits(token(ED)),
        refused("encoding", part="signature"),
    )
    return group


def strict_json(group, part, text, make):
    """The ways in which a text is not strict JSON, for the header and for the claims alike."""
    inner = text[1:-1]

    def add(name, broken, rule="syntax", **facts):
        group.add(f"{part}: {name}", make(broken), not_json(part, rule, **facts))

    add("not JSON at all", "reset me")
    for name, value in (
        ("an array", f"[{text}]"),
        ("a string", '"text"'),
        ("a number", "1"),
        ("null", "null"),
    ):
        add(name, value, "not_an_object")
    add("a byte order mark", "\ufeff" + text)
    add("UTF-16, little-endian", text.encode("utf-16-le"))
    add("UTF-16, big-endian", text.encode("utf-16-be"))
    add("UTF-16 with a byte order mark", text.encode("utf-16"), "not_utf8")
    add("Latin-1 in a member nobody reads", b'{"x":"caf\xe9",' + text[1:].encode(), "not_utf8")
    add("an overlong UTF-8 sequence", b'{"x":"\xc0\xaf",' + text[1:].encode(), "not_utf8")
    add("a surrogate written in UTF-8", b'{"x":"\xed\xa0\x80",' + text[1:].encode(), "not_utf8")
    add("a letter after the object", text + "x")
    add("a second object", text + text)
    add("a zero byte after the object", text + "\0")
    add("a comma after the last member", "{" + inner + ",}")
    add("a comment", "{/* */" + inner + "}")
    add("a comment to the end of the line", "{// x\n" + inner + "}")
    add("single quotes", text.replace('"', "'"))
    add("a name without quotes", "{x:1," + inner + "}")
    add("no closing brace", text[:-1])
    for value in (
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "01",
        "0x10",
        "1.",
        ".5",
        "undefined",
        "True",
        "1e400",
    ):
        add(f"the value {value}", '{"x":' + value + "," + inner + "}")
    add("a lone surrogate as an escape", '{"x":"\\ud800",' + inner + "}")
    add("a raw line break in a string", '{"x":"a\nb",' + inner + "}")
    add("an unknown escape", '{"x":"\\x41",' + inner + "}")

    def nested(depth):
        return '{"x":' + "[" * (depth - 1) + "]" * (depth - 1) + "," + inner + "}"

    def crowded(count):
        extra = count - len(json.loads(text))
        return "{" + ",".join(f'"x{i}":{i}' for i in range(extra)) + "," + inner + "}"

    group.add(f"{part}: sixteen levels are read", make(nested(16)), good())
    add("seventeen levels", nested(17), "too_deep")
    add("a thousand levels", nested(500), "too_deep")
    group.add(f"{part}: sixty-four members are read", make(crowded(64)), good())
    add("sixty-five members", crowded(65), "too_many_members")
    group.add(
        f"{part}: twenty digits are read", make('{"x":18446744073709551615,' + inner + "}"), good()
    )
    add("twenty-one digits", '{"x":100000000000000000000,' + inner + "}", "number_too_long")
    quoted = '{"x":"\\"' + "1" * 21 + '",' + inner + "}"
    group.add(f"{part}: digits in a string are no number", make(quoted), good())
    after = '{"x":"\\\\","y":' + "1" * 21 + "," + inner + "}"
    add("twenty-one digits after a string with a backslash", after, "number_too_long")
    add(
        "twenty-one digits after the point",
        '{"x":0.' + "1" * 21 + "," + inner + "}",
        "number_too_long",
    )

    add("an unknown member twice", '{"x":1,"x":1,' + inner + "}", "duplicate_member", member="x")
    add(
        "an inner member twice",
        '{"x":[{"y":1,"y":2}],' + inner + "}",
        "duplicate_member",
        member="y",
    )
    for name in json.loads(text):
        value = json.dumps(json.loads(text)[name])
        spelled = f"\\u{ord(name[0]):04x}{name[1:]}"
        add(f"{name} twice", f'{{"{name}":{value},{inner}}}', "duplicate_member", member=name)
        add(
            f"{name} twice, last with another value",
            f'{{{inner},"{name}":1}}',
            "duplicate_member",
            member=name,
        )
        add(
            f"{name} twice, once escaped",
            f'{{{inner},"{spelled}":{value}}}',
            "duplicate_member",
            member=name,
        )


def header():
    group = Group(
        "header", "The header: strict JSON, no parameter that changes the meaning, our own type."
    )

    def padded(length):
        bare = len(head(x=""))
        return with_header(x="x" * (length - bare))

    group.add("2048 bytes are read", padded(MAX_HEADER), good())
    group.add(
        "2049 bytes are too long",
        padded(MAX_HEADER + 1),
        refused("header_too_long", length=MAX_HEADER + 1),
    )
    strict_json(group, "header", head(), lambda text: token(header=text))
    group.add("an empty object", token(header="{}"), refused("wrong_type", found=None))

    stranger = STRANGER.public_key().public_numbers()
    own_key = {
        "kty": "EC",
        "crv": "P-256",
        "x": b64(octets(stranger.x, 32)),
        "y": b64(octets(stranger.y, 32)),
    }
    by_stranger = lambda message: es256(message, private=STRANGER)
    parameters = {
        "crit": {
            "naming an unknown extension": ["x-ext"],
            "naming an extension that is there": ["exp"],
            "as an empty list": [],
            "as null": None,
            "as a string": "exp",
            "as an object": {},
            "as false": False,
            "as a number": 0,
            "naming a registered parameter": ["alg"],
            "naming itself": ["crit"],
            "naming one extension twice": ["b64", "b64"],
            "holding something else than names": [1],
        },
        "b64": {"false": False, "true": True, "null": None, "as a string": "false"},
        "jku": {
            "with an address": "https://evil.example.com/jwks.json",
            "of our own issuer": f"{ISSUER}/jwks.json",
            "null": None,
        },
        "jwk": {"with our own key": public(EC_JWK), "null": None, "as an empty object": {}},
        "x5u": {
            "with an address": "https://evil.example.com/chain.pem",
            "with a file": "file:///etc/passwd",
        },
        "x5c": {"with a certificate": ["MIIB"], "as an empty list": []},
        "x5t": {"with a digest": b64(bytes(20))},
        "x5t#S256": {"with a digest": b64(bytes(32))},
        "cty": {"JWT": "JWT", "null": None},
        "enc": {"A128GCM": "A128GCM", "null": None},
        "zip": {"DEF": "DEF", "null": None},
        "epk": {"with a key": public(EC_JWK)},
        "apu": {"with text": b64(b"Alice")},
        "apv": {"with text": b64(b"Bob")},
        "p2c": {"with a huge count": 2**31},
        "p2s": {"with salt": b64(bytes(16))},
    }
    for parameter, forms in parameters.items():
        for name, value in forms.items():
            group.add(
                f"{parameter} {name}",
                with_header(**{parameter: value}),
                refused("refused_header_parameter", name=parameter),
            )
    for name, text, parameter in (
        ("crit with b64 false", with_header(crit=["b64"], b64=False), "crit"),
        ("crit with b64 true", with_header(crit=["b64"], b64=True), "crit"),
        (
            "crit spelled with an escape",
            token(header='{"\\u0063rit":["exp"],' + head()[1:]),
            "crit",
        ),
        (
            "jwk with a strange key that really signed",
            token(header=head(jwk=own_key), sign=by_stranger),
            "jwk",
        ),
        ("jwk in place of kid", token(header=head(kid=DROP, jwk=own_key), sign=by_stranger), "jwk"),
        (
            "jku in place of kid",
            with_header(kid=DROP, jku="https://evil.example.com/jwks.json"),
            "jku",
        ),
        ("the header of a JWE", token(header='{"alg":"dir","enc":"A128GCM"}'), "enc"),
    ):
        group.add(name, text, refused("refused_header_parameter", name=parameter))
    group.add("CRIT is not crit", with_header(CRIT=["exp"]), good())

    for name, value in (
        ("JWT", "JWT"),
        ("an access token", "at+jwt"),
        ("a security event", "secevent+jwt"),
        ("a status list", "statuslist+jwt"),
        ("upper case", "RESET+JWT"),
        ("one capital letter", "Reset+jwt"),
        ("a parameter", "reset+jwt;v=1"),
        ("the long spelling in upper case", "APPLICATION/reset+jwt"),
        ("the long spelling with a parameter", "application/reset+jwt; v=1"),
        ("another tree", "text/reset+jwt"),
        ("a suffix too many", "reset+jwt+jwt"),
        ("a space at the end", "reset+jwt "),
        ("an empty text", ""),
    ):
        group.add(f"typ: {name}", with_header(typ=value), refused("wrong_type", found=value))
    for name, value in (
        ("missing", DROP),
        ("null", None),
        ("a number", 1),
        ("a list", ["reset+jwt"]),
        ("an object", {}),
    ):
        group.add(f"typ: {name}", with_header(typ=value), refused("wrong_type", found=None))
    group.add(
        "typ: a long text is cut in the error",
        with_header(typ="x" * 500),
        refused("wrong_type", found="x" * 64),
    )
    group.add(
        "typ: the long spelling is accepted", with_header(typ="application/reset+jwt"), good()
    )
    return group


def key():
    group = Group("key", "The key is found by kid alone, and its algorithm is the only one.")
    add = group.add
    missing = refused("missing_key_id")
    for name, value in (
        ("missing", DROP),
        ("null", None),
        ("a number", 1),
        ("a list", [ES.kid]),
        ("an object", {"kid": ES.kid}),
        ("empty", ""),
        ("129 characters", "k" * 129),
        ("a path", f"../../keys/{ES.kid}"),
        ("a path to nothing", "/dev/null"),
        ("one dot", "."),
        ("two dots", ".."),
        ("a backslash", f"..\\{ES.kid}"),
        ("a line break at the end", f"{ES.kid}\n"),
        ("a space at the end", f"{ES.kid} "),
        ("a zero byte at the end", f"{ES.kid}\0.json"),
        ("an address", f"https://evil.example.com/{ES.kid}"),
        ("a query", "' OR '1'='1"),
        ("a shell command", "$(id)"),
        ("an escape sequence of a terminal", "\x1b[31mred"),
        ("percent-encoded", "%2e%2e"),
        ("letters from outside ASCII", "\u0430dmin"),
    ):
        add(f"kid: {name}", with_header(kid=value), missing)
    for name, value in (
        ("a key nobody knows", "unknown"),
        ("128 characters", "k" * 128),
        ("the thumbprint of a strange key", "A" * 43),
        ("another case", ES.kid.swapcase()),
        ("a suffix", f"{ES.kid}x"),
        ("a suffix like a file", f"{ES.kid}.json"),
        ("the last character is missing", ES.kid[:-1]),
        ("a prefix", f"x{ES.kid}"),
        ("three dots", "..."),
    ):
        add(f"kid: {name}", with_header(kid=value), refused("unknown_key", kid=value))

    def wrong(found, wanted=ES):
        return refused("wrong_algorithm", wanted=wanted.alg, found=found)

    fine = token()
    for spelling in ("none", "None", "NONE", "nOnE", "none ", "none\0"):
        unsigned = with_header(alg=spelling).rpartition(".")[0] + "."
        label = json.dumps(spelling)[1:-1]
        add(f"alg {label} without a signature", unsigned, refused("encoding", part="signature"))
        add(f"alg {label} with a good signature", with_header(alg=spelling), wrong(spelling))
        add(
            f"alg {label} with another token's signature",
            unsigned + fine.rpartition(".")[2],
            wrong(spelling),
        )
    add("alg none with a signature of zero bytes", unsigned_none(b"\0"), wrong("none"))
    for name, value in (
        ("missing", DROP),
        ("null", None),
        ("a number", 256),
        ("a list", ["ES256"]),
        ("an object", {"alg": "ES256"}),
    ):
        add(f"alg {name}", with_header(alg=value), wrong(None))
    for name, value in (
        ("in lower case", "es256"),
        ("in mixed case", "Es256"),
        ("with a space before it", " ES256"),
        ("with a space after it", "ES256 "),
        ("with a zero byte after it", "ES256\0"),
        ("with a dash", "ES-256"),
        ("empty", ""),
        ("by its object identifier", "1.2.840.10045.4.3.2"),
    ):
        add(f"alg {name}", with_header(alg=value), wrong(value))
    add("alg as a long text is cut in the error", with_header(alg="x" * 500), wrong("x" * 64))

    for family, owner, public_key in (
        ("P-256", ES, EC_PRIVATE.public_key()),
        ("Ed25519", ED, ED_PRIVATE.public_key()),
        ("RSA", RS, RSA_PRIVATE.public_key()),
    ):
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        secrets = {
            "as PEM": public_key.public_bytes(serialization.Encoding.PEM, spki),
            "as PEM without the last line break": public_key.public_bytes(
                serialization.Encoding.PEM, spki
            ).strip(),
            "as DER": public_key.public_bytes(serialization.Encoding.DER, spki),
            "as a JWK": json.dumps(public(owner.jwk)).encode(),
            "as the JWK of its thumbprint": json.dumps(
                {name: owner.jwk[name] for name in REQUIRED[owner.jwk["kty"]]},
                separators=(",", ":"),
            ).encode(),
            "as its first member": unb64(owner.jwk.get("x") or owner.jwk["n"]),
            "as base64url of its first member": (owner.jwk.get("x") or owner.jwk["n"]).encode(),
            "as its kid": owner.kid.encode(),
            "as nothing": b"",
        }
        for name, secret in secrets.items():
            sign = lambda message, secret=secret: hmac.digest(secret, message, "sha256")
            add(
                f"HS256 with the public {family} key {name} as its secret",
                token(header=head(owner, alg="HS256"), sign=sign),
                wrong("HS256", owner),
            )
            add(
                f"{owner.alg} with a MAC under the public {family} key {name}",
                token(header=head(owner), sign=sign),
                BAD_SIGNATURE,
            )
    for alg, name in (("HS384", "sha384"), ("HS512", "sha512")):
        sign = lambda message, name=name: hmac.digest(unb64(EC_JWK["x"]), message, name)
        add(
            f"{alg} with the public P-256 key as its secret",
            token(header=head(alg=alg), sign=sign),
            wrong(alg),
        )

    siblings = (
        (RS, "RS384", lambda message: rs256(message, digest=hashes.SHA384())),
        (RS, "RS512", lambda message: rs256(message, digest=hashes.SHA512())),
        (RS, "PS256", ps256),
        (PS, "RS256", rs256),
        (ES, "ES384", lambda message: es256(message, digest=hashes.SHA384())),
        (ES, "ES512", lambda message: es256(message, digest=hashes.SHA512())),
        (ES, "ES256K", es256),
        (ED, "Ed25519", eddsa),
        (ED, "Ed448", eddsa),
        (ED, "ES256", es256),
        (ES, "EdDSA", eddsa),
        (RS, "ES256", es256),
    )
    for owner, alg, sign in siblings:
        add(
            f"{alg} under the kid of the {owner.alg} key, really signed so",
            token(header=head(owner, alg=alg), sign=sign),
            wrong(alg, owner),
        )
    for owner, signer in ((ES, ED), (ED, ES), (ES, RS), (RS, PS), (PS, RS)):
        add(
            f"a {signer.alg} signature under the kid and alg of the {owner.alg} key",
            token(header=head(owner), sign=signer.sign),
            BAD_SIGNATURE,
        )
    add(
        "a strange P-256 key under our kid",
        token(sign=lambda message: es256(message, private=STRANGER)),
        BAD_SIGNATURE,
    )
    return group


def unsigned_none(signature):
    return with_header(alg="none").rpartition(".")[0] + "." + b64(signature)


def flipped(signature, position):
    return bytes(
        byte ^ (1 if i == position % len(signature) else 0) for i, byte in enumerate(signature)
    )


def signature():
    group = Group(
        "signature",
        "The signature belongs to this header, these claims and this key, in its one encoding. The "
        "twin of an ES256 signature with n - s in place of s is VALID like the first (JWS does not "
        "ask for low s), so a token has two spellings: nothing may be remembered by the text of a "
        "token or by its signature.",
    )

    def add(name, key, sign, expect=BAD_SIGNATURE):
        group.add(f"{key.alg}: {name}", token(key, sign=sign), expect)

    def common(key, length):
        for name, position in (("first", 0), ("middle", length // 2), ("last", -1)):
            add(
                f"one bit flipped in the {name} byte", key, lambda m: flipped(key.sign(m), position)
            )
        add("the last byte missing", key, lambda m: key.sign(m)[:-1])
        add("the first byte missing", key, lambda m: key.sign(m)[1:])
        add("a zero byte added", key, lambda m: key.sign(m) + b"\0")
        add("a zero byte put before it", key, lambda m: b"\0" + key.sign(m))
        add("only one byte", key, lambda m: key.sign(m)[:1])
        add("all zero", key, lambda m: bytes(length))
        add("all ones", key, lambda m: b"\xff" * length)
        add("written twice", key, lambda m: key.sign(m) * 2)
        add("over the claims alone", key, lambda m: key.sign(m.split(b".")[1]))
        add(
            "over the decoded parts",
            key,
            lambda m: key.sign(b".".join(unb64(part.decode()) for part in m.split(b"."))),
        )
        add("over the digest", key, lambda m: key.sign(sha256(m)))
        one, two = token(key).split("."), token(key, claims=body(sub="eve")).split(".")
        group.add(
            f"{key.alg}: the claims of another token", f"{one[0]}.{two[1]}.{one[2]}", BAD_SIGNATURE
        )
        group.add(
            f"{key.alg}: the signature of another token",
            f"{one[0]}.{one[1]}.{two[2]}",
            BAD_SIGNATURE,
        )
        other = b64(head(key, x=1).encode())
        group.add(f"{key.alg}: another header", f"{other}.{one[1]}.{one[2]}", BAD_SIGNATURE)
        group.add(
            f"{key.alg}: the header spelled in another way",
            f"{b64((head(key) + ' ').encode())}.{one[1]}.{one[2]}",
            BAD_SIGNATURE,
        )

    def pair(r, s, length=32, order="big"):
        return r.to_bytes(length, order) + s.to_bytes(length, order)

    common(ES, 64)
    ecdsa_forms = {
        "as DER": lambda r, s: utils.encode_dss_signature(r, s),
        "halves of 33 bytes": lambda r, s: pair(r, s, 33),
        "halves of 48 bytes": lambda r, s: pair(r, s, 48),
        "halves swapped": lambda r, s: pair(s, r),
        "little-endian": lambda r, s: pair(r, s, order="little"),
        "r is 0": lambda r, s: pair(0, s),
        "s is 0": lambda r, s: pair(r, 0),
        "r is 1 and s is 1": lambda r, s: pair(1, 1),
        "r is n": lambda r, s: pair(N_P256, s),
        "s is n": lambda r, s: pair(r, N_P256),
        "r and s are n": lambda r, s: pair(N_P256, N_P256),
        "r is n - r": lambda r, s: pair(N_P256 - r, s),
        "half of it, in one number": lambda r, s: octets(r, 32),
    }
    for name, build in ecdsa_forms.items():
        add(name, ES, lambda m: build(*ecdsa(m)))
    add(
        "s is n - s, the twin that is accepted",
        ES,
        lambda m: pair(ecdsa(m)[0], N_P256 - ecdsa(m)[1]),
        good(),
    )
    add("over SHA-384", ES, lambda m: es256(m, digest=hashes.SHA384()))

    common(ED, 64)
    order, small = Edwards.L, Edwards.ORDER_8

    def plus_order(message):
        honest = eddsa(message)
        return honest[:32] + (int.from_bytes(honest[32:], "little") + order).to_bytes(32, "little")

    add("S is S + L", ED, plus_order)
    add("S is 0", ED, lambda m: eddsa(m)[:32] + bytes(32))
    add("S is L", ED, lambda m: eddsa(m)[:32] + order.to_bytes(32, "little"))
    for factor, name in ((1, "eight"), (2, "four"), (4, "two")):
        point = Edwards.times(factor, small)
        add(
            f"R has order {name} and S fits it", ED, lambda m: Edwards.sign(m, shift=point, nonce=0)
        )
        add(f"R has order {name} and S is 0", ED, lambda m: Edwards.encode(point) + bytes(32))
    add("R is neutral and S fits it", ED, lambda m: Edwards.sign(m, nonce=0))
    add("R is neutral and S is 0", ED, lambda m: Edwards.encode(Edwards.NEUTRAL) + bytes(32))
    add(
        "R is not canonical and S is 0",
        ED,
        lambda m: (Edwards.P + 1).to_bytes(32, "little") + bytes(32),
    )
    add("R is off the curve", ED, lambda m: (2).to_bytes(32, "little") + eddsa(m)[32:])
    # A verifier that multiplies by the cofactor takes this one; ours and the edges do not.
    add("R has a part of small order", ED, lambda m: Edwards.sign(m, shift=small))
    domain = b"SigEd25519 no Ed25519 collisions"
    add(
        "by Ed25519ph",
        ED,
        lambda m: Edwards.sign(hashlib.sha512(m).digest(), domain=domain + b"\1\0"),
    )
    add("by Ed25519ctx", ED, lambda m: Edwards.sign(m, domain=domain + b"\0\5reset"))

    common(RS, 256)

    def pkcs1(digest_info, fill=b"\xff"):
        return b"\0\1" + fill * (253 - len(digest_info)) + b"\0" + digest_info

    sha256_info = bytes.fromhex("3031300d060960864801650304020105000420")
    no_null = bytes.fromhex("302f300b06096086480165030402010420")
    sha1_info = bytes.fromhex("3021300906052b0e03021a05000414")
    assert rsa_raw(pkcs1(sha256_info + sha256(b"x"))) == rs256(b"x")
    blocks = {
        "the block has no NULL": lambda m: pkcs1(no_null + sha256(m)),
        "the block names SHA-1": lambda m: pkcs1(sha1_info + hashlib.sha1(m).digest()),
        "the block holds no digest info": lambda m: pkcs1(sha256(m)),
        "the block is filled with zeros": lambda m: pkcs1(sha256_info + sha256(m), b"\0"),
        "the block is of type 2": lambda m: b"\0\2" + pkcs1(sha256_info + sha256(m))[2:],
        "the block has something after the digest": lambda m: b"\0\1"
        + b"\xff" * 8
        + b"\0"
        + sha256_info
        + sha256(m)
        + bytes(256 - 11 - 19 - 32),
    }
    for name, build in blocks.items():
        add(name, RS, lambda m: rsa_raw(build(m)))
    add("the number one", RS, lambda m: octets(1, 256))
    add("the modulus", RS, lambda m: octets(N_RSA, 256))
    add(
        "the modulus added, in 257 bytes",
        RS,
        lambda m: octets(int.from_bytes(rs256(m), "big") + N_RSA, 257),
    )
    add("over SHA-512", RS, lambda m: rs256(m, digest=hashes.SHA512()))

    common(PS, 256)
    for length in (0, 20, 31, 33, 64):
        add(f"a salt of {length} bytes", PS, lambda m: ps256(m, salt_length=length))
    add("another trailer", PS, lambda m: ps256(m, trailer=0xCC))
    add("a mask made with SHA-1", PS, lambda m: ps256(m, mask_digest=hashlib.sha1))
    return group


DATES = ("exp", "iat", "nbf")


def claims():
    group = Group(
        "claims",
        "The claims: strict JSON, and for every claim its one type. A wrong type is never absence.",
    )
    add = group.add
    strict_json(group, "claims", body(), lambda text: token(claims=text))
    add("an empty object", token(claims="{}"), wrong_claim("iss"))

    for name in DATES:
        add(
            f"{name} is missing",
            with_claims(**{name: DROP}),
            good() if name == "nbf" else wrong_claim(name),
        )
        fitting = {"exp": NOW + 840, "iat": NOW - 60, "nbf": NOW - 60}[name]
        for label, value in (
            ("a float", f"{fitting}.5"),
            ("a whole number written as a float", f"{fitting}.0"),
            ("a whole number with an exponent", "18e8"),
            ("a string", f'"{fitting}"'),
            ("true", "true"),
            ("null", "null"),
            ("a list", f"[{fitting}]"),
            ("an object", f'{{"{name}":{fitting}}}'),
            ("an empty string", '""'),
            ("a date in words", '"2027-01-15T08:00:00Z"'),
            ("negative", "-1"),
            ("negative zero", "-0"),
            ("zero", "0"),
            ("2^53 + 1", str(2**53 + 1)),
            ("2^63 - 1", str(2**63 - 1)),
            ("2^63", str(2**63)),
            ("2^64 - 1", str(2**64 - 1)),
            ("2^64", str(2**64)),
            ("2^64 and a good time", str(2**64 + fitting)),
            ("-2^63", str(-(2**63))),
            ("below -2^63", str(-(2**63) - 1)),
            ("1e3", "1e3"),
            ("1e300", "1e300"),
        ):
            add(f"{name} is {label}", with_claims(**{name: Raw(value)}), wrong_claim(name))
        for label, value, rule in (
            ("1e400", "1e400", "syntax"),
            ("2^70", str(2**70), "number_too_long"),
            ("not a number", "NaN", "syntax"),
            ("written with a leading zero", f"0{fitting}", "syntax"),
            ("written with a plus", f"+{fitting}", "syntax"),
        ):
            add(f"{name} is {label}", with_claims(**{name: Raw(value)}), not_json("claims", rule))

    # What no text claim may be, whatever it stands for.
    others = (
        ("a number", 1),
        ("true", True),
        ("null", None),
        ("a list", ["x"]),
        ("an object", {"x": "x"}),
    )
    required = {"iss": True, "sub": True, "jti": True, "credential_id": False, "user_id": False}
    for name, must in required.items():
        add(
            f"{name} is missing",
            with_claims(**{name: DROP}),
            wrong_claim(name) if must else good(**{name: DROP}),
        )
        for label, value in others:
            add(f"{name} is {label}", with_claims(**{name: value}), wrong_claim(name))
    add("iss is a list that holds ours", with_claims(iss=[ISSUER]), wrong_claim("iss"))

    for name in ("sub", "credential_id", "user_id"):
        longest = "\u00e9" * 128
        for label, value in (
            ("one character", "x"),
            ("256 bytes", "x" * 256),
            ("128 characters in 256 bytes", longest),
            ("text with spaces and quotes", ' o\'Neil "x" <a@b.example> '),
        ):
            add(f"{name} is {label}", with_claims(**{name: value}), good(**{name: value}))
        for label, value in (
            ("empty", ""),
            ("257 bytes", "x" * 257),
            ("129 characters in 257 bytes", longest + "x"),
            ("with a line break", "ada\nroot"),
            ("with a zero byte", "ada\0"),
            ("with an escape sequence", "ada\x1b[2J"),
            ("with a delete character", "ada\x7f"),
            ("with a C1 control", "ada\x85"),
            ("with a right-to-left override", "ada\u202e"),
            ("with a right-to-left mark", "\u200fada"),
            ("with an Arabic letter mark", "\u061cada"),
            ("with an isolate", "\u2066ada"),
            ("with a line separator", "ada\u2028"),
        ):
            add(f"{name} is {label}", with_claims(**{name: value}), wrong_claim(name))

    for label, value in (
        ("empty", ""),
        ("21 characters", JTI[:-1]),
        ("23 characters", JTI + "A"),
        ("24 characters, 18 bytes", JTI + "AA"),
        ("padded", JTI + "=="),
        ("in the standard alphabet", "++" + JTI[2:]),
        ("with unused bits set", JTI[:-1] + "x"),
        ("a UUID", "00010203-0405-4607-8809-0a0b0c0d0e0f"),
        ("in hexadecimal", "000102030405060708090a0b0c0d0e0f"),
        ("with a space", JTI[:-1] + " "),
    ):
        add(f"jti is {label}", with_claims(jti=value), wrong_claim("jti"))
    add("jti is all zero", with_claims(jti="A" * 22), good(jti="A" * 22))

    uri = "https://reset.example.com/status/1"
    for label, value in (
        ("a string", "valid"),
        ("null", None),
        ("a number", 0),
        ("a list", [{"status_list": {"idx": 1, "uri": uri}}]),
        ("an empty object", {}),
        ("a list of another kind", {"status_list": [1, uri]}),
        ("null inside", {"status_list": None}),
        ("without idx", {"status_list": {"uri": uri}}),
        ("without uri", {"status_list": {"idx": 1}}),
        ("with a negative idx", {"status_list": {"idx": -1, "uri": uri}}),
        ("with an idx as text", {"status_list": {"idx": "1", "uri": uri}}),
        ("with a float for idx", Raw(f'{{"status_list":{{"idx":1.0,"uri":"{uri}"}}}}')),
        ("with an empty uri", {"status_list": {"idx": 1, "uri": ""}}),
        ("with a number for uri", {"status_list": {"idx": 1, "uri": 1}}),
        ("without status_list around it", {"idx": 1, "uri": uri}),
    ):
        add(f"status is {label}", with_claims(status=value), wrong_claim("status"))
    for label, idx in (("idx 0", 0), ("the largest idx", 2**64 - 1)):
        status = {"status_list": {"idx": idx, "uri": uri}}
        add(f"status has {label}", with_claims(status=status), good(status=status))
    known = {"status_list": {"idx": 1, "uri": uri}}
    add(
        "status has members nobody knows",
        with_claims(status={"other": 1, "status_list": {"idx": 1, "uri": uri, "other": []}}),
        good(status=known),
    )

    for label, value in (
        ("a number", 1),
        ("true", True),
        ("null", None),
        ("an object", {"aud": AUDIENCE}),
        ("an empty list", []),
        ("a list of numbers", [1, 2]),
        ("a mixed list that holds ours", [AUDIENCE, 1]),
        ("a list that holds null", [None, AUDIENCE]),
        ("a list in a list", [[AUDIENCE]]),
        (
            "a list of 17 that holds ours",
            [AUDIENCE] + [f"https://{i}.example.com" for i in range(16)],
        ),
    ):
        add(f"aud is {label}", with_claims(aud=value), wrong_claim("aud"))
    add("aud is missing", with_claims(aud=DROP), wrong_claim("aud"))

    add(
        "wrong claims are not told before the signature is good",
        token(claims=body(exp="soon"), sign=lambda message: flipped(es256(message), 0)),
        BAD_SIGNATURE,
    )
    return group


def parties():
    group = Group("parties", "The issuer is exactly ours, and our audience is among the audiences.")
    for label, value in (
        ("another issuer", "https://evil.example.com"),
        ("a prefix of ours", ISSUER[:-1]),
        ("ours with a suffix", f"{ISSUER}.evil.example.com"),
        ("a trailing slash", f"{ISSUER}/"),
        ("a path", f"{ISSUER}/tenant"),
        ("another scheme", ISSUER.replace("https", "http")),
        ("another case", ISSUER.upper()),
        ("one capital letter", ISSUER.replace("reset", "Reset")),
        ("a port", f"{ISSUER}:443"),
        ("user information", ISSUER.replace("//", "//x@")),
        ("a space before it", f" {ISSUER}"),
        ("a line break after it", f"{ISSUER}\n"),
        ("a letter that looks the same", ISSUER.replace("e", "\u0435", 1)),
        ("percent-encoded", ISSUER.replace(".", "%2E")),
        ("our audience", AUDIENCE),
        ("empty", ""),
    ):
        group.add(f"iss is {label}", with_claims(iss=value), refused("wrong_issuer", found=value))
    for label, value in (
        ("another", "https://other.example.com"),
        ("a prefix of ours", AUDIENCE[:-1]),
        ("ours with a trailing slash", f"{AUDIENCE}/"),
        ("another case", AUDIENCE.upper()),
        ("several in one string", f"{AUDIENCE} https://other.example.com"),
        ("a wildcard", "*"),
        ("our issuer", ISSUER),
        ("empty", ""),
    ):
        group.add(
            f"aud is {label}", with_claims(aud=value), refused("wrong_audience", found=[value])
        )
    strangers = [f"https://{i}.example.com" for i in range(16)]
    group.add(
        "aud is a list without ours",
        with_claims(aud=strangers),
        refused("wrong_audience", found=strangers),
    )
    for label, value in (
        ("a list that holds only ours", [AUDIENCE]),
        ("a list that holds ours first", [AUDIENCE, "https://other.example.com"]),
        ("a list that holds ours last", ["https://other.example.com", AUDIENCE]),
        ("a list of 16 that holds ours", strangers[1:] + [AUDIENCE]),
        ("a list that holds ours twice", [AUDIENCE, AUDIENCE]),
    ):
        group.add(f"aud is {label}", with_claims(aud=value), good(aud=value))
    other = "https://evil.example.com"
    group.add(
        "the issuer is told before the audience and the time",
        with_claims(iss=other, aud=other, exp=NOW - 1),
        refused("wrong_issuer", found=other),
    )
    group.add(
        "the audience is told before the time",
        with_claims(aud=other, exp=NOW - 1),
        refused("wrong_audience", found=[other]),
    )
    return group


def time():
    group = Group(
        "time",
        "The dates against the time of the check, with leeway on both sides, up to 60 seconds.",
    )

    def add(name, expect=None, leeway=None, now=NOW, **dates):
        group.add(name, with_claims(**dates), expect or good(**dates), now, leeway)

    def expired(exp):
        return {"exp": exp, "expect": refused("expired", exp=exp)}

    def early(name, error, value):
        return {name: value, "expect": refused(error, **{name: value})}

    add("exp is one second ahead", exp=NOW + 1)
    add("exp is now", **expired(NOW))
    add("exp is one second ago", **expired(NOW - 1))
    add("exp is long ago", **expired(1))
    add("exp is a minute ago, which the leeway just does not cover", leeway=60, **expired(NOW - 60))
    add(
        "exp is 59 seconds ago, which the leeway just covers",
        leeway=60,
        exp=NOW - 59,
        iat=NOW - 600,
    )
    add("exp is one second ago and the leeway is one", leeway=1, **expired(NOW - 1))
    add("exp is now and the leeway is one", leeway=1, exp=NOW)
    add("a larger leeway is taken as 60", leeway=3600, **expired(NOW - 60))
    add("the largest leeway there is does not wrap", leeway=2**64 - 1, **expired(NOW - 60))

    add("iat is now", iat=NOW)
    add("iat is one second ahead", **early("iat", "issued_in_future", NOW + 1))
    add("iat is a minute ahead, which the leeway just covers", leeway=60, iat=NOW + 60)
    add("iat is 61 seconds ahead", leeway=60, **early("iat", "issued_in_future", NOW + 61))
    add(
        "a larger leeway is taken as 60 for iat as well",
        leeway=3600,
        **early("iat", "issued_in_future", NOW + 61),
    )
    add("iat is in milliseconds", **early("iat", "issued_in_future", (NOW - 60) * 1000))
    add("iat is 2^53", **early("iat", "issued_in_future", 2**53))

    add("nbf is now", nbf=NOW)
    add("nbf is one second ahead", **early("nbf", "not_yet_valid", NOW + 1))
    add("nbf is a minute ahead, which the leeway just covers", leeway=60, nbf=NOW + 60)
    add("nbf is 61 seconds ahead", leeway=60, **early("nbf", "not_yet_valid", NOW + 61))
    add("nbf is after exp", **early("nbf", "not_yet_valid", NOW + 10_000))
    add("nbf is 2^53", **early("nbf", "not_yet_valid", 2**53))
    add("nbf is long ago", nbf=1)

    def long_life(lifetime):
        return refused("lifetime_too_long", lifetime=lifetime)

    add("a life of 24 hours", iat=NOW - 60, exp=NOW - 60 + DAY)
    add("a life of 24 hours and one second", long_life(DAY + 1), iat=NOW - 60, exp=NOW - 59 + DAY)
    add(
        "the leeway does not lengthen the life",
        long_life(DAY + 1),
        leeway=60,
        iat=NOW - 60,
        exp=NOW - 59 + DAY,
    )
    add("exp is in milliseconds", long_life((NOW + 840) * 1000 - NOW + 60), exp=(NOW + 840) * 1000)
    add("exp is 2^53", long_life(2**53 - NOW + 60), exp=2**53)
    add("exp is 2^53 with leeway", long_life(2**53 - NOW + 60), leeway=60, exp=2**53)
    add("iat is 1", long_life(NOW + 839), iat=1)
    add(
        "issued in the last second there is",
        refused("expired", exp=2**53),
        now=2**53,
        iat=2**53 - 60,
        exp=2**53,
    )
    add("the last second but one", now=2**53 - 1, iat=2**53 - 60, exp=2**53)
    add(
        "the clock of the verifier stands at zero", refused("issued_in_future", iat=NOW - 60), now=0
    )

    add(
        "expired is told first",
        refused("expired", exp=NOW - 1),
        exp=NOW - 1,
        iat=NOW + 600,
        nbf=NOW + 600,
    )
    add(
        "the future is told before nbf",
        refused("issued_in_future", iat=NOW + 1),
        iat=NOW + 1,
        nbf=NOW + 1,
    )
    return group


def rfc():
    group = Group(
        "rfc",
        "Complete examples of the RFCs. Each is right by its RFC and refused by the profile: none says "
        "that it is a reset token. MAC keys are not loaded and need not be.",
    )
    group.add("RFC 7515 A.1, HS256", RFC_7515_A1, refused("wrong_type", found="JWT"))
    group.add("RFC 7515 A.2, RS256", RFC_7515_A2, refused("wrong_type", found=None))
    group.add("RFC 7515 A.3, ES256", RFC_7515_A3, refused("wrong_type", found=None))
    group.add("RFC 7515 A.5, unsecured", RFC_7515_A5, refused("encoding", part="signature"))
    group.add(
        "RFC 7797 4.2, an unencoded detached payload",
        RFC_7797_4_2,
        refused("encoding", part="claims"),
    )
    group.add("RFC 8037 A.4, EdDSA", RFC_8037_A4, refused("wrong_type", found=None))
    return group


def main():
    check_examples()
    write("keys.json", {"keys": [public(key.jwk) for key in KEYS]})
    about = (
        "Private halves of keys.json, for tests that sign. They are published examples, known to "
        "everybody: RFC 7515 A.3, RFC 8037 A.1 and RFC 7515 A.2 (twice, once for PS256). Never use "
        "them for anything else."
    )
    write("private-keys.json", {"about": about, "keys": [key.jwk for key in KEYS]})
    for make in (valid, form, header, key, signature, claims, parties, time, rfc):
        group = make()
        group.write()
        print(f"{group.name}: {len(group.cases)}")


if __name__ == "__main__":
    main()
