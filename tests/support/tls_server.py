"""A real HTTPS server on a free loopback port: prints the port, and answers who its client is by certificate.

usage: tls_server.py open|mutual FOLDER
FOLDER gets ca.pem, the authority of all certificates, and client.pem with client.key, which `mutual` asks for.
"""
import http.server
import json
import ssl
import sys
import threading

import trustme


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        certificate = self.connection.getpeercert() or {}
        names = [name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS"]
        body = json.dumps({"client": names}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main(kind, folder):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(f"{folder}/ca.pem")
    client = ca.issue_cert("flows.example")
    client.cert_chain_pems[0].write_to_path(f"{folder}/client.pem")
    client.private_key_pem.write_to_path(f"{folder}/client.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    if kind == "mutual":
        context.verify_mode = ssl.CERT_REQUIRED
        ca.configure_trust(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # The handshake is each connection's own: one that fails stops no other.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    # The test holds stdin open for as long as it wants the server.
    sys.stdin.read()


main(sys.argv[1], sys.argv[2])
