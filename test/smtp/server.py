# SPDX-License-Identifier: Apache-2.0
"""An SMTP server for tests: aiosmtpd, which leaves each mail in a folder.

server.py MODE CERT KEY FOLDER, MODE one of starttls, tls, none; where USERNAME and
PASSWORD are in the environment, nobody sends without them. It prints its port.
An address that begins with 'full' is refused for now (452), with 'gone' for good (550).
"""
import asyncio
import json
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode, cert, key, folder = sys.argv[1:5]
user, password = os.environ.get("USERNAME"), os.environ.get("PASSWORD")
count = 0


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("full"):
            return "452 4.2.2 mailbox of %s is full" % address
        if address.startswith("gone"):
            return "550 5.1.1 nobody is called %s" % address
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        global count
        count += 1
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode("utf-8"),
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "user": getattr(session, "auth_data", None) is not None,
        }
        path = os.path.join(folder, "%06d" % count)
        with open(path + ".part", "w", encoding="utf-8") as f:
            json.dump(mail, f)
        os.rename(path + ".part", path + ".json")
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = user is not None and data.login.decode() == user and data.password.decode() == password
    return AuthResult(success=good, handled=False, auth_data=data if good else None)


context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(cert, key)


def protocol():
    return SMTP(
        Handler(),
        hostname="mail.test",
        tls_context=context if mode == "starttls" else None,
        require_starttls=mode == "starttls",
        auth_required=user is not None,
        auth_require_tls=mode == "starttls",
        authenticator=authenticate,
        enable_SMTPUTF8=True,
    )


async def main():
    server = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", 0, ssl=context if mode == "tls" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
