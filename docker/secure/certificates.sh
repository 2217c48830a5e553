#!/usr/bin/env bash
# Makes the certificates of compose.secure.yaml in docker/certificates: an authority, and a certificate for each server.
# `make certificates` runs it. What is there stays; remove a folder to have its certificate made again. The workers
# trust the authority alone.
set -euo pipefail
umask 022
folder=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/certificates}
days=825 # of a server's certificate; the authority's is valid four times as long
command -v openssl >/dev/null || { echo 'needed: openssl' >&2; exit 1; }

# The keys below are readable by all users, because each server runs as a user of its own. This folder is not.
mkdir -p "$folder"
chmod 700 "$folder"

if [[ ! -s $folder/authority/ca.pem ]]; then
  mkdir -p -m 700 "$folder/authority"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $((days * 4)) \
    -subj '/CN=ginkgo data worker authority' -addext 'basicConstraints=critical,CA:TRUE' \
    -addext 'keyUsage=critical,keyCertSign,cRLSign' \
    -keyout "$folder/authority/ca.key" -out "$folder/authority/ca.pem" 2>/dev/null
fi
mkdir -p "$folder/client"
cp "$folder/authority/ca.pem" "$folder/client/ca.pem"

for server in kafka clickhouse redis mysql; do
  [[ ! -s $folder/$server/both.pem ]] || continue
  mkdir -p "$folder/$server"
  cd "$folder/$server"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$server" \
    -keyout server.key -out request.pem 2>/dev/null
  printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' "$server" >names
  openssl x509 -req -in request.pem -days "$days" -CA ../authority/ca.pem -CAkey ../authority/ca.key \
    -CAcreateserial -extfile names -out server.pem 2>/dev/null
  cp ../authority/ca.pem ca.pem
  cat server.key server.pem ca.pem >both.pem # as Kafka wants them
  chmod 644 server.key both.pem
  rm -f request.pem names
done
