#!/bin/sh
# Run once by the Postgres image, on an empty volume: a role and a database each, closed to the other.
set -eu
for name in dagster mlflow; do
    password=$(printenv "$(echo "${name}_PASSWORD" | tr a-z A-Z)")
    psql -v ON_ERROR_STOP=1 -U postgres -d postgres -v name="$name" -v password="$password" <<'SQL'
create role :"name" login password :'password';
create database :"name" owner :"name";
revoke all on database :"name" from public;
SQL
done
