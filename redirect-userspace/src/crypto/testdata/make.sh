#!/bin/sh
# Makes the keys, signatures and certificates in this folder with OpenSSL 3.0, anew.
# None of the keys is used for anything but the tests beside them.
set -eu
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Private keys in the forms that are read, and in some that are refused.
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem
openssl rsa -in rsa.pem -traditional -out rsa-pkcs1.pem 2>/dev/null
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa-1024.pem
for curve in 256 384 521; do
    openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:P-$curve" -out "p$curve.pem"
    openssl ec -in "p$curve.pem" -out "p$curve-sec1.pem" 2>/dev/null
done
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1 -out secp256k1.pem
openssl genpkey -algorithm ED25519 -out ed25519.pem
openssl pkcs8 -topk8 -in p256.pem -passout pass:secret -out encrypted-pkcs8.pem
openssl ec -in p256.pem -aes128 -passout pass:secret -out encrypted-sec1.pem 2>/dev/null

# Signatures over the file `message`: a name and hexadecimal digits on each line.
printf 'what both sides have said' > message
sign() { # NAME KEY OPTIONS
    name=$1 key=$2
    shift 2
    printf '%s %s\n' "$name" "$(openssl dgst -sign "$key.pem" "$@" message | od -An -v -tx1 | tr -d ' \n')"
}
{
    sign rsa-sha1 rsa -sha1
    for hash in 256 384 512; do
        sign "rsa-sha$hash" rsa "-sha$hash"
        sign "pss-sha$hash" rsa "-sha$hash" -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest
        for curve in 256 384 521; do
            sign "p$curve-sha$hash" "p$curve" "-sha$hash"
        done
    done
    openssl pkeyutl -sign -rawin -inkey ed25519.pem -in message -out "$scratch/signature"
    printf 'ed25519 %s\n' "$(od -An -v -tx1 < "$scratch/signature" | tr -d ' \n')"
} > signatures

# A root, a CA below it, two gateways below that, and the CA's list of revoked certificates, which
# names the second; and a responder that speaks for the CA. All are valid from 2026-01-01 to 2036-01-01.
for name in root ca gateway revoked responder; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$scratch/$name.key"
done
cat > "$scratch/config" <<END
[ca]
default_ca = list
[list]
database = $scratch/index
new_certs_dir = $scratch
serial = $scratch/serial
default_md = sha256
crl_extensions = crl
crlnumber = $scratch/crlnumber
policy = anything
unique_subject = no
default_startdate = 20260101000000Z
default_enddate = 20360101000000Z
[anything]
countryName = optional
organizationName = optional
commonName = supplied
[req]
distinguished_name = empty
[empty]
[crl]
authorityKeyIdentifier = keyid
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[intermediate]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[gateway]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, 1.3.6.1.5.5.7.3.17
subjectAltName = DNS:gw1.example.com, DNS:*.vpn.example.com, email:ops@example.com, IP:192.0.2.1, IP:2001:db8::1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[responder]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = OCSPSigning
noCheck = ignored
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
: > "$scratch/index"
echo 01 > "$scratch/serial"
echo 01 > "$scratch/crlnumber"
issue() { # NAME SUBJECT EXTENSIONS ISSUER
    openssl req -new -config "$scratch/config" -key "$scratch/$1.key" -subj "$2" -out "$scratch/$1.csr"
    if [ "$4" = "$1" ]; then self=-selfsign; else self="-cert $4.pem"; fi
    # shellcheck disable=SC2086
    openssl ca -batch -notext -config "$scratch/config" -extensions "$3" -in "$scratch/$1.csr" \
        $self -keyfile "$scratch/$4.key" -out "$1.pem" 2>/dev/null
}
issue root '/C=CH/O=Test/CN=Root' root root
issue ca '/C=CH/O=Test/CN=Gateways' intermediate root
issue gateway '/C=CH/O=Test/CN=gw1.example.com' gateway ca
issue revoked '/C=CH/O=Test/CN=gw2.example.com' gateway ca
cp "$scratch/gateway.key" gateway-key.pem
openssl ca -config "$scratch/config" -revoke revoked.pem -cert ca.pem -keyfile "$scratch/ca.key" 2>/dev/null
openssl ca -config "$scratch/config" -gencrl -crl_lastupdate 20260101000000Z -crl_nextupdate 20360101000000Z \
    -cert ca.pem -keyfile "$scratch/ca.key" -out ca-crl.pem 2>/dev/null

# What the CA, and its responder, say about the gateways, until after 2035.
issue responder '/C=CH/O=Test/CN=Responder' responder ca
say() { # ABOUT SIGNER FILE
    signer_key=$scratch/$2.key
    openssl ocsp -issuer ca.pem -cert "$1.pem" -no_nonce -reqout "$scratch/request" >/dev/null
    openssl ocsp -index "$scratch/index" -CA ca.pem -rsigner "$2.pem" -rkey "$signer_key" -ndays 3300 \
        -reqin "$scratch/request" -respout "$3" >/dev/null 2>&1
}
say gateway ca gateway-ocsp.der
say gateway responder gateway-ocsp-delegated.der
say revoked ca revoked-ocsp.der
rm responder.pem
