"""A real SMTP server on a free loopback port: prints the port, then one line of JSON for each mail it takes.

usage: smtp_server.py none|starttls|tls FOLDER    (its certificate authority is written to FOLDER/ca.pem)
A recipient whose address begins with "refuse" is refused for good (550), one with "later" for now (451): the first time,
and each time if it begins with "later-always".
"""
import asyncio
import json
import ssl
import sys

import trustme
from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, put_off):
        self.put_off = put_off

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refuse"):
            return "550 5.1.1 no such user"
        if address.startswith("later") and (address not in self.put_off or address.startswith("later-always")):
            self.put_off.add(address)
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(
            json.dumps(
                {
                    "from": envelope.mail_from,
                    "to": envelope.rcpt_tos,
                    "data": envelope.content.decode("utf-8", "replace"),
                    "tls": server.transport.get_extra_info("ssl_object") is not None,
                    "user": session.auth_data,
                }
            ),
            flush=True,
        )
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, data):
    ok = data.login == b"flow" and data.password == b"s3cret"
    # Not handled: the server itself then says 535.
    return AuthResult(success=ok, handled=ok, auth_data="flow" if ok else None)


async def main(security, folder):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(f"{folder}/ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    login = security == "starttls"

    # One for all connections: a retry makes another.
    put_off = set()

    def factory():
        return SMTP(
            Handler(put_off),
            hostname="localhost",
            enable_SMTPUTF8=True,
            tls_context=context if security == "starttls" else None,
            require_starttls=security == "starttls",
            authenticator=authenticate if login else None,
            auth_required=login,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        factory, "127.0.0.1", 0, ssl=context if security == "tls" else None
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # The test holds stdin open for as long as it wants the server.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main(sys.argv[1], sys.argv[2]))
