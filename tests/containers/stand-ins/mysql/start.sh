#!/bin/bash
# Like the real image, creates the database and the user at the first start. The arguments are server options.
set -euo pipefail
data=/var/lib/mysql init=/run/mysqld/init.sql
mkdir -p "$data" /run/mysqld
chown mysql "$data" /run/mysqld
options=(--no-defaults --user=mysql --datadir="$data")
[[ -d $data/mysql ]] || mariadb-install-db "${options[@]}" --skip-test-db --auth-root-authentication-method=normal >/dev/null
cat >"$init" <<SQL
CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;
CREATE USER IF NOT EXISTS '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';
ALTER USER root@localhost IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
SQL
exec mariadbd "${options[@]}" --socket=/run/mysqld/mysqld.sock --init-file="$init" "$@"
