#!/bin/sh
# Makes token.tsr and token.pem anew: a timestamp over the checkpoint of good-one.zip, of an authority that exists for
# this moment. Then REAL_TIME in cases.py is the time that it prints. Usage: sh token.sh CHECKPOINT
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/tsa.cnf" <<END
[req]
distinguished_name = name
[name]
[tsa]
default_tsa = config
[config]
serial = $work/serial
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
ess_cert_id_alg = sha256
END
echo 01 > "$work/serial"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500 -subj "/CN=throw-away timestamps" \
    -config "$work/tsa.cnf" -addext "extendedKeyUsage=critical,timeStamping" \
    -keyout "$work/key" -out "$here/token.pem" 2> "$work/log" || { cat "$work/log"; exit 1; }
openssl ts -query -data "$1" -sha256 -no_nonce -out "$work/query" 2> /dev/null
openssl ts -reply -config "$work/tsa.cnf" -queryfile "$work/query" -signer "$here/token.pem" -inkey "$work/key" \
    -out "$here/token.tsr" 2> /dev/null
openssl ts -verify -data "$1" -in "$here/token.tsr" -CAfile "$here/token.pem" -untrusted "$here/token.pem"
openssl ts -reply -in "$here/token.tsr" -text | grep "Time stamp"
