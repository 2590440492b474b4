"""A mail server (aiosmtpd) that does as it is told: settings as JSON in the first argument. Prints one line of
JSON for its port and one for each thing that happened."""

import asyncio
import base64
import json
import logging
import ssl
import sys
import warnings

from aiosmtpd.smtp import SMTP, AuthResult

# It warns of what these settings are for.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

settings = json.loads(sys.argv[1])
encryption = settings.get("encryption", "starttls")
behaviour = settings.get("behaviour", "accept")


def tell(**event):
    print(json.dumps(event), flush=True)


class Handler:
    def __init__(self):
        self.mails = 0

    async def handle_MAIL(self, server, session, envelope, address, options):
        tell(event="sender", address=address, tls=session.ssl is not None)
        if behaviour == "refuse_sender":
            return f"553 5.7.1 <{address}>: not your address"
        if behaviour == "tarpit":
            await asyncio.sleep(3600)
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        tell(event="recipient", address=address)
        if behaviour == "refuse_recipient":
            answer = settings.get("answer", "550 5.1.1 <{to}>: Recipient address rejected: User unknown")
            return answer.replace("{to}", address).replace("{from}", envelope.mail_from)
        if behaviour == "late_recipient" and self.mails == 0:
            self.mails += 1
            await asyncio.sleep(settings["seconds"])
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.mails += 1
        if behaviour == "busy_first" and self.mails == 1:
            return "451 4.3.0 try again later"
        if behaviour == "refuse_content":
            return "554 5.7.1 this looks like spam: " + envelope.content.decode().replace("\r\n", " ")[:400]
        if behaviour == "wrong_kind":
            return "354 go on"
        tell(event="mail", sender=envelope.mail_from, recipients=envelope.rcpt_tos,
             content=base64.b64encode(envelope.original_content).decode())
        if behaviour == "silent_first" and self.mails == 1:
            await asyncio.sleep(3600)
        return "250 OK"


class Server(SMTP):
    async def smtp_DATA(self, arg):
        if behaviour != "drop":
            return await super().smtp_DATA(arg)
        await self.push("354 go on")
        await self._reader.readline()
        tell(event="dropped")
        self.transport.abort()

    async def push(self, status):
        if behaviour == "inject" and status.startswith("220 Ready to start TLS"):
            status += "\r\n250 injected"
        await super().push(status)

    async def smtp_NOOP(self, arg):
        if behaviour == "tarpit_noop":
            tell(event="asked")
            await asyncio.sleep(3600)
        await super().smtp_NOOP(arg)

    async def smtp_AUTH(self, arg):
        tell(event="command", command="AUTH", tls=self.session.ssl is not None)
        await super().smtp_AUTH(arg)


def authenticate(server, session, envelope, mechanism, data):
    name, password = data.login.decode(), data.password.decode()
    tell(event="login", name=name, password=password)
    is_right = (name, password) == ("resetd", settings.get("password"))
    return AuthResult(success=is_right, handled=False)


async def main():
    loop = asyncio.get_running_loop()
    context = None
    if encryption != "none":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings["certificate"], settings["key"])
    has_login = settings.get("password") is not None
    handler = Handler()

    def make():
        tell(event="connection")
        return Server(
            handler, hostname="mail.test", enable_SMTPUTF8=settings.get("utf8", False),
            tls_context=context if encryption == "starttls" else None,
            require_starttls=encryption == "starttls",
            authenticator=authenticate if has_login else None, auth_required=has_login,
            auth_require_tls=encryption == "starttls", loop=loop)

    server = await loop.create_server(
        make, settings.get("host", "127.0.0.1"), settings.get("port", 0), ssl=context if encryption == "tls" else None)
    tell(event="port", port=server.sockets[0].getsockname()[1])
    await server.serve_forever()


asyncio.run(main())
