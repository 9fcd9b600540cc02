"""A timestamp authority (RFC 3161 section 3.4) for tests: OpenSSL signs, Python speaks HTTP.

    tsa.py DIR PORT

DIR gets the authority's root (authority.pem). Prints "ready" once it serves on loopback.
"""

import http.server
import pathlib
import subprocess
import sys

CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = Timestamps of a test
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
[stamp]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = this
[this]
serial = serial
crypto_device = builtin
signer_cert = tsa.pem
certs = authority.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
"""


def openssl(directory, *arguments, given=None):
    done = subprocess.run(["openssl", *arguments], cwd=directory, input=given, capture_output=True)
    if done.returncode:
        sys.exit(f"openssl {' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout


def found(directory):
    (directory / "tsa.cnf").write_text(CONFIG)
    (directory / "serial").write_text("01\n")
    for name in ("authority", "tsa"):
        openssl(directory, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    openssl(
        directory, "req", "-new", "-x509", "-config", "tsa.cnf", "-extensions", "root", "-key", "authority.key", "-days", "3",
        "-out", "authority.pem",
    )
    openssl(directory, "req", "-new", "-config", "tsa.cnf", "-key", "tsa.key", "-out", "tsa.csr")
    openssl(
        directory, "x509", "-req", "-in", "tsa.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
        "-days", "2", "-extfile", "tsa.cnf", "-extensions", "stamp", "-out", "tsa.pem",
    )


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    found(directory)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            if self.headers["Content-Type"] != "application/timestamp-query":
                return self.send_error(415)
            (directory / "query.tsq").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            reply = openssl(
                directory, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-chain", "authority.pem"
            )
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
    print("ready", flush=True)
    server.serve_forever()


main()
