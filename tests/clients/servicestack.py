"""Asks as the vendor's JsonServiceClient for Python does: servicestack.py send | reset TOKEN

The classes are as its generator makes them. What came of it goes out as one line of JSON.
"""

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Optional

from dataclasses_json import LetterCase, Undefined, dataclass_json
from servicestack import IReturn, JsonServiceClient, ResponseStatus, WebServiceException


@dataclass_json(letter_case=LetterCase.CAMEL, undefined=Undefined.EXCLUDE)
@dataclass
class GetResetPasswordTokenResponse:
    response_status: Optional[ResponseStatus] = None


@dataclass_json(letter_case=LetterCase.CAMEL, undefined=Undefined.EXCLUDE)
@dataclass
class PasswordResetResponse:
    response_status: Optional[ResponseStatus] = None


@dataclass_json(letter_case=LetterCase.CAMEL, undefined=Undefined.EXCLUDE)
@dataclass
class GetResetPasswordToken(IReturn[GetResetPasswordTokenResponse]):
    user_name: Optional[str] = None
    appliance_id: Optional[str] = None
    subdomain_name: Optional[str] = None
    suite_id: Optional[str] = None
    appliance_login_url: Optional[str] = None


@dataclass_json(letter_case=LetterCase.CAMEL, undefined=Undefined.EXCLUDE)
@dataclass
class PasswordReset(IReturn[PasswordResetResponse]):
    new_password: Optional[str] = None
    confirm_password: Optional[str] = None
    token: Optional[str] = None
    appliance_id: Optional[str] = None


ZEROS = "00000000-0000-0000-0000-000000000000"
ROUTE = "/api/account/ann@example.com/passwordresettoken"
URL = os.environ["RESETD_URL"]


def client(path):
    made = JsonServiceClient(URL).set_base_path(path)
    made.set_bearer_token(os.environ["RESETD_API_KEY"])
    return made


def refusal(ask):
    try:
        ask()
    except WebServiceException as error:
        status = error.response_status
        assert status.error_code and status.message, status
        assert status.stack_trace is None, status
        return error.status_code, status
    raise AssertionError("it succeeded")


def send():
    sent = elsewhere = 0
    whole = GetResetPasswordToken(
        user_name="ann@example.com", appliance_id=ZEROS, suite_id=ZEROS, subdomain_name="x"
    )
    for path in ["api", "api/json/reply"]:
        for method in ["post", "put", "patch", "get", "delete"]:
            answer = getattr(client(path), method)(whole)
            assert answer.response_status is None, answer
            sent += 1
    one = client("api")
    body = GetResetPasswordToken(appliance_login_url="https://app.example.com/other")
    for method in ["post_url", "put_url", "patch_url"]:
        getattr(one, method)(ROUTE, body)
        sent, elsewhere = sent + 1, elsewhere + 1
    for method in ["get_url", "delete_url"]:
        getattr(one, method)(ROUTE, GetResetPasswordTokenResponse)
        sent += 1

    code, status = refusal(lambda: one.post(GetResetPasswordToken()))
    assert (code, status.error_code) == (400, "NotEmpty"), status
    assert status.errors[0].field_name == "UserName", status
    code, status = refusal(lambda: JsonServiceClient(URL).post(whole))
    assert (code, status.error_code) == (401, "Unauthorized"), status
    return {"sent": sent, "elsewhere": elsewhere}


def reset(token):
    codes = []
    for text in [token, token, "a.b.c"]:
        request = PasswordReset("hunter2", "hunter2", text, ZEROS)
        try:
            client("api").post(request)
            codes.append("")
        except WebServiceException as error:
            codes.append(error.response_status.error_code)
    return {"codes": codes}


print(json.dumps(send() if sys.argv[1] == "send" else reset(sys.argv[2])))
